"""The stores' contracts on SQLite, on PostgreSQL, and once through gRPC."""

from __future__ import annotations

from typing import Any

import pytest

from fivefold_tracking.store.sql import Store
from tests.tracking.client import Tracking
from tests.tracking.client_store import ClientStores
from tests.tracking.contract import ExperimentContract, RunContract
from tests.tracking.contract_lists import ArtifactContract, SearchContract


class Sqlite:
    @pytest.fixture
    def stores(self, sqlite_store: Store) -> Any:
        return sqlite_store


class Postgres:
    @pytest.fixture
    def stores(self, postgres_store: Store) -> Any:
        return postgres_store


class ThroughGrpc:
    @pytest.fixture
    def stores(self, tracking: Tracking) -> Any:
        return ClientStores(tracking)


class TestExperimentsOnSqlite(Sqlite, ExperimentContract): ...


class TestExperimentsOnPostgres(Postgres, ExperimentContract): ...


class TestExperimentsThroughGrpc(ThroughGrpc, ExperimentContract): ...


class TestRunsOnSqlite(Sqlite, RunContract): ...


class TestRunsOnPostgres(Postgres, RunContract): ...


class TestRunsThroughGrpc(ThroughGrpc, RunContract): ...


class TestSearchOnSqlite(Sqlite, SearchContract): ...


class TestSearchOnPostgres(Postgres, SearchContract): ...


class TestSearchThroughGrpc(ThroughGrpc, SearchContract): ...


class TestArtifactsOnSqlite(Sqlite, ArtifactContract): ...


class TestArtifactsOnPostgres(Postgres, ArtifactContract): ...


class TestArtifactsThroughGrpc(ThroughGrpc, ArtifactContract): ...
