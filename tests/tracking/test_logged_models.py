"""The contracts of logged models and datasets on SQLite, on PostgreSQL and through gRPC; what only calls can get wrong."""

from __future__ import annotations

import pytest

from tests.tracking.client import Tracking
from tests.tracking.client_models import ClientModelStores
from tests.tracking.contract_logged_models import DatasetContract, LoggedModelContract, LoggedModelSearchContract
from tests.tracking.test_stores import Postgres, Sqlite


class ThroughGrpc:
    @pytest.fixture
    def stores(self, tracking: Tracking) -> ClientModelStores:
        return ClientModelStores(tracking)


class TestLoggedModelsOnSqlite(Sqlite, LoggedModelContract): ...


class TestLoggedModelsOnPostgres(Postgres, LoggedModelContract): ...


class TestLoggedModelsThroughGrpc(ThroughGrpc, LoggedModelContract): ...


class TestSearchOnSqlite(Sqlite, LoggedModelSearchContract): ...


class TestSearchOnPostgres(Postgres, LoggedModelSearchContract): ...


class TestSearchThroughGrpc(ThroughGrpc, LoggedModelSearchContract): ...


class TestDatasetsOnSqlite(Sqlite, DatasetContract): ...


class TestDatasetsOnPostgres(Postgres, DatasetContract): ...


class TestDatasetsThroughGrpc(ThroughGrpc, DatasetContract): ...
