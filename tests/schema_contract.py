"""What every service's database promises: its migrations make the tables that it declares, and the first never changes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, text

from fivefold_runtime import migration
from fivefold_runtime import tables as runtime_tables
from fivefold_runtime.sql import Database, engine_for, sqlite_in


class SchemaContract:
    """A subclass in a service's tests says which migrations, which tables, and where the first schema is written down."""

    migrations: ClassVar[str]
    metadata: ClassVar[MetaData]
    golden: ClassVar[Path]

    @pytest.mark.parametrize("first", ["0001", "head"])
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_the_migrations_make_the_declared_tables(
        self, request: pytest.FixtureRequest, tmp_path: Path, kind: str, first: str
    ) -> None:
        """In one go, and when an older version made the first schema."""
        url = sqlite_in(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgres_url")
        older = engine_for(url)
        migration.upgrade(older, self.migrations, until=first)
        older.dispose()
        database = Database.open(url, migrations=self.migrations)
        with database.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            found = compare_metadata(context, self.metadata)
        database.close()
        assert [each for each in found if "alembic_version" not in str(each)] == []

    def test_the_first_schema_is_the_one_that_is_written_down(self, tmp_path: Path) -> None:
        """Data of released versions has this schema: a change is a new revision, never another first one."""
        engine = engine_for(sqlite_in(tmp_path))
        migration.upgrade(engine, self.migrations, until="0001")
        with engine.connect() as tx:
            found = tx.execute(text("SELECT tbl_name, sql FROM sqlite_schema ORDER BY type DESC, name")).all()
        engine.dispose()
        ours = self.metadata.tables.keys() - runtime_tables.metadata.tables.keys()
        dump = "".join(f"{' '.join(sql.split())};\n" for table, sql in found if sql and table in ours)
        golden = self.golden
        assert dump == golden.read_text(), f"if no data has the old schema yet, write this to {golden.name}:\n{dump}"
