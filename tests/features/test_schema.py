"""The migrated schema is the declared one on both databases, and the first one is what data of today has."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from fivefold_features.store.sql import MIGRATIONS
from fivefold_features.store.tables import metadata
from fivefold_runtime import tables as runtime_tables
from fivefold_runtime.sql import Database, sqlite_in

GOLDEN = Path(__file__).parent / "schema_0001.sql"


def test_the_migrations_make_the_declared_tables(store_url: str) -> None:
    database = Database.open(store_url, migrations=MIGRATIONS)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [each for each in compare_metadata(context, metadata) if "alembic_version" not in str(each)]
    database.close()
    assert differences == []


def test_the_first_schema_is_the_one_that_is_written_down(tmp_path: Path) -> None:
    """Data of released versions has this schema: a change is a new revision, never another first one."""
    database = Database.open(sqlite_in(tmp_path), migrations=MIGRATIONS)
    with database.read() as tx:
        found = tx.execute(text("SELECT tbl_name, sql FROM sqlite_schema ORDER BY type DESC, name")).all()
    ours = metadata.tables.keys() - runtime_tables.metadata.tables.keys()
    dump = "".join(f"{' '.join(sql.split())};\n" for table, sql in found if sql and table in ours)
    database.close()
    assert dump == GOLDEN.read_text(), f"if no data has the old schema yet, write this to {GOLDEN.name}:\n{dump}"
