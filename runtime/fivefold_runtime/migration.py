"""Schema versions: brings a database to the version of this code, and refuses one that a newer version made.

A service's migrations are the modules of one package, named by their revision: 0001_first.py, 0002_add_etag.py, each an
Alembic revision that follows the one before. All that are missing run in one transaction, so that a killed upgrade
leaves the old schema. Alembic itself is imported only when there is something to do: it costs memory that an idle
server would keep.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from fivefold_runtime.settings import StartError

_REVISION = re.compile(r"(\d{4})_[a-z0-9_]+\.py")
_LOCK = 0x66697665  # PostgreSQL advisory lock of upgrades: "five"


def upgrade(engine: Engine, package: str, *, until: str = "head") -> None:
    """Runs the missing migrations. Two servers that start at once do so one after the other.

    until  the last one to run, for a database as an older version left it

    Raises StartError when the database has a revision that this code does not know.
    """
    folder, known = _revisions(package)
    writing = engine.execution_options(fivefold_writes=True)
    with writing.connect() as connection:
        present = _present(connection)
    _refuse_unknown(present, known, package)
    if present in (known[-1], until):
        return
    with writing.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            for limit in ("statement_timeout", "lock_timeout"):  # Another server's upgrade may take its time, too.
                connection.execute(text(f"SET LOCAL {limit} = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        present = _present(connection)
        _refuse_unknown(present, known, package)
        if present not in (known[-1], until):
            _run(connection, folder, until)


def _run(connection: Connection, folder: Path, until: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(folder), version_locations=[str(folder)])
    with EnvironmentContext(
        Config(), scripts, fn=lambda revision, _: scripts._upgrade_revs(until, revision)
    ) as environment:
        environment.configure(connection=connection, transactional_ddl=True, render_as_batch=True)
        environment.run_migrations()


def _revisions(package: str) -> tuple[Path, list[str]]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise StartError(f"the package {package} is not installed completely. Install this service again.")
    folder = Path(next(iter(spec.submodule_search_locations)))
    found = (_REVISION.fullmatch(path.name) for path in folder.iterdir())
    known = sorted(match.group(1) for match in found if match)
    if not known:
        raise StartError(f"the package {package} has no migrations. Install this service again.")
    return folder, known


def _present(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    rows = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return max(rows) if rows else None


def _refuse_unknown(present: str | None, known: list[str], package: str) -> None:
    if present is not None and present not in known:
        service = package.partition(".")[0].replace("_", "-")
        raise StartError(
            f"the database has schema {present}, this {service} knows up to {known[-1]}."
            f" Start the newer {service} that wrote it, or restore an older backup."
        )
