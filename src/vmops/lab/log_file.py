"""The background lab's log: bounded, so that nothing that happens in the lab can fill the disk."""

from __future__ import annotations

import logging
import os
import stat
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MAX_BYTES = 8 * 1024 * 1024
"""Of the file; for more it is put aside, and one that was put aside before goes."""
MAX_RECORD = 16 * 1024
"""Characters of one record, its traceback included."""


class _Bounded(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The record's text, cut in the middle if it is long."""
        text = super().format(record)
        if len(text) <= MAX_RECORD:
            return text
        half = MAX_RECORD // 2
        left_out = len(text) - 2 * half
        return f"{text[:half]}\n[{left_out} characters left out]\n{text[-half:]}"


class _OwnFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.fdopen(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")


def set_up(log_file: Path) -> None:
    """Log to the file if this process's stderr is that file, else to stderr."""
    handler: logging.Handler = logging.StreamHandler()
    if _is_stderr(log_file):
        handler = _OwnFile(
            log_file, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8", errors="backslashreplace"
        )
    handler.setFormatter(_Bounded(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)


def _is_stderr(log_file: Path) -> bool:
    try:
        found = os.fstat(sys.stderr.fileno())
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, log_file.stat())
    except (OSError, ValueError):
        return False
