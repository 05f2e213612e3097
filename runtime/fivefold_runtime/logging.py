"""Logging: JSON lines on stderr, one object per line. Constant messages, values as fields.

Fields come from `extra`. Whoever logs keeps payloads, parameter values and credentials out; this module cannot.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode  # made once: json.dumps would make one a line


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: time, level, logger, message, then the fields of `extra`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _OWN)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)


def start(service: str, level: str) -> None:
    """Sends everything that is logged in this process to stderr as JSON lines, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("alembic", "sqlalchemy.engine", "grpc._server"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
