"""A server process from its first line to its last: settings, folder lock, build, serve, SIGTERM, drain.

Whatever keeps it from starting is one line on stderr and exit code 2; a stop by SIGTERM or SIGINT is exit code 0.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from fivefold_runtime import ports
from fivefold_runtime.app import App
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.folder import DataFolder
from fivefold_runtime.logging import start as start_logging
from fivefold_runtime.server import Server
from fivefold_runtime.settings import HelpAsked, ServerConfig, StartError, load

C = TypeVar("C", bound=ServerConfig)

log = logging.getLogger("fivefold.main")


def run(service: str, config: type[C], build: Callable[[C], App], argv: Sequence[str] | None = None) -> int:
    """Runs a service until it is told to stop; returns the exit code. `sys.exit(run("tracking", Config, build))`.

    build  makes the App. It may raise StartError; it opens the database, so --migrate-only needs nothing else.
    """
    try:
        settings, switches = load(config, service, sys.argv[1:] if argv is None else argv, os.environ)
        return _serve(service, settings, build, migrate_only="migrate-only" in switches)
    except HelpAsked as asked:
        print(asked.args[0])
        return 0
    except StartError as error:
        return _refuse(service, str(error))
    except FivefoldError as error:
        return _refuse(service, error.message)
    except ModuleNotFoundError as error:
        return _refuse(
            service, f"the package {error.name} is missing. Install fivefold-{service} again, with its extras."
        )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        where = f" at {error.filename}" if error.filename else ""
        return _refuse(
            service, f"cannot write{where}: {error.strerror}. Free some space or choose another folder with --data."
        )


def _serve(service: str, settings: C, build: Callable[[C], App], *, migrate_only: bool) -> int:
    start_logging(service, settings.log_level)
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not migrate_only:
        for name in ("listen", "health_listen", "metrics_listen"):
            if getattr(settings, name):
                ports.check_free(getattr(settings, name), name)
    folder = DataFolder(settings.data)
    folder.take()
    try:
        app = build(settings)
        if migrate_only:
            if app.database is not None:
                app.database.close()
            log.info("migrated")
            return 0
        server = Server(settings, app)
        try:
            server.start()
        except BaseException:
            server.close()
            raise
        log.info("serving", extra={"port": server.port, "health_port": server.health_port, "pid": os.getpid()})
        while not stop.wait(1.0):
            pass
        log.info("draining", extra={"seconds": settings.drain_seconds})
        server.drain()
        log.info("stopped")
        if server.busy():
            _leave_at_once(folder)
        return 0
    finally:
        folder.release()


def _leave_at_once(folder: DataFolder) -> NoReturn:
    """Ends the process although calls still run: their time is up, and Python would wait for their threads for ever."""
    log.warning("calls did not end in time")
    folder.release()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)


def _refuse(service: str, why: str) -> int:
    print(f"fivefold-{service}: {why}", file=sys.stderr, flush=True)
    return 2
