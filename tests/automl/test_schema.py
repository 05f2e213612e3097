"""The schema of the service's database."""

from __future__ import annotations

from pathlib import Path

from fivefold_automl.store.tables import metadata
from tests.schema_contract import SchemaContract


class TestSchema(SchemaContract):
    migrations = "fivefold_automl.store.migrations"
    metadata = metadata
    golden = Path(__file__).parent / "schema_0001.sql"
