"""The extension that manages new machines, so that vCenter warns who changes them by hand."""

from __future__ import annotations

import logging
import threading

from vmops.errors import InvalidArgument, NoPermission, NotSupported
from vmops.ops.engine.settings import EngineSettings
from vmops.specs.extension import managing_extension
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)


class ManagingExtension:
    """The extension of the settings' key; a single ESXi keeps none, and needs none."""

    def __init__(self, session: Session, settings: EngineSettings) -> None:
        self._session = session
        self._key = settings.managed_by
        self._lock = threading.Lock()
        self._is_looked_for = False

    def key(self) -> str:
        """What new machines name; "" if the settings name none.

        The first time, the extension is registered if the server does not know it. A user who may
        not do that is told in the log, for the machines can be made all the same.
        """
        if self._key:
            with self._lock:
                if not self._is_looked_for:
                    self._register()
                    self._is_looked_for = True
        return self._key

    def _register(self) -> None:
        manager = self._session.content.extensionManager
        if manager is None:
            return
        try:
            if self._session.call(manager, "FindExtension", extensionKey=self._key) is not None:
                return
            self._session.call(
                manager, "RegisterExtension", extension=managing_extension(self._key)
            )
        except InvalidArgument:
            # Somebody was faster, unless it is still not there.
            if self._session.call(manager, "FindExtension", extensionKey=self._key) is None:
                raise
        except (NoPermission, NotSupported) as refused:
            log.warning("The extension %s could not be registered: %s", self._key, refused)
