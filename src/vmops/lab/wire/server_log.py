"""The HTTP server's log, without what clients send wrong: anybody could fill a disk by that."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

REQUESTS_LOG = logging.getLogger("vmops.lab.http")


class _NoBadRequests(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record tells of the lab itself."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (HttpProcessingError, ConnectionError))


if not REQUESTS_LOG.filters:
    REQUESTS_LOG.addFilter(_NoBadRequests())
