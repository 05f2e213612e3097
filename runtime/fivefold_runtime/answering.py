"""Says whether the database answers, without ever waiting for it: a part of readiness, asked every second."""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy import Engine, text

from fivefold_runtime.sql import Database, engine_for

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0  # that a database may be silent before this server is not ready
_SILENT = "the database does not answer"


class Answering:
    """Asks PostgreSQL on a connection of its own, so that a pool that is busy with calls does not count as silence.

    SQLite is a file in this server's folder: there is nobody to ask.
    """

    def __init__(self, database: Database) -> None:
        self._engine: Engine | None = None if database.is_sqlite else engine_for(_url(database))
        self._said = ""
        self._asked = 0.0
        self._thread: threading.Thread | None = None

    def why_not(self) -> str:
        """Returns "" while the database answers, else that it does not. Never waits."""
        if self._engine is None:
            return ""
        if self._thread is None or not self._thread.is_alive():
            self._asked = time.monotonic()
            self._thread = threading.Thread(target=self._ask, args=[self._engine], name="database-asked", daemon=True)
            self._thread.start()
        elif time.monotonic() - self._asked > PATIENCE_SECONDS:
            return _SILENT
        return self._said

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def _ask(self, engine: Engine) -> None:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except Exception:  # Whatever a driver raises: there was no answer.
            log.debug("the database did not answer", exc_info=True)
            self._said = _SILENT
        else:
            self._said = ""


def _url(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
