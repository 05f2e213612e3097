"""Filters and orders on SQLite, on PostgreSQL, and once through gRPC."""

from __future__ import annotations

import unittest.mock
from contextlib import nullcontext
from typing import Any

from fivefold_tracking.store import searching
from tests.tracking.contract_search import ExperimentSearchContract, FilterContract
from tests.tracking.test_stores import Postgres, Sqlite, ThroughGrpc


class Many:
    """Makes a search take the way of many runs (0), or the one of few."""

    examples = 150

    def many(self, runs: int) -> Any:
        return unittest.mock.patch.object(searching, "_MANY", runs)


class TestFiltersOnSqlite(Sqlite, Many, FilterContract): ...


class TestFiltersOnPostgres(Postgres, Many, FilterContract): ...


class TestFiltersThroughGrpc(ThroughGrpc, FilterContract):
    examples = 40

    def many(self, runs: int) -> Any:
        return nullcontext()


class TestExperimentSearchOnSqlite(Sqlite, ExperimentSearchContract): ...


class TestExperimentSearchOnPostgres(Postgres, ExperimentSearchContract): ...


class TestExperimentSearchThroughGrpc(ThroughGrpc, ExperimentSearchContract): ...
