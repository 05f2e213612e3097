"""The contract of metric histories on SQLite, on PostgreSQL, and once through gRPC."""

from __future__ import annotations

from tests.tracking.contract_metrics import MetricContract
from tests.tracking.test_stores import Postgres, Sqlite, ThroughGrpc


class TestMetricsOnSqlite(Sqlite, MetricContract): ...


class TestMetricsOnPostgres(Postgres, MetricContract): ...


class TestMetricsThroughGrpc(ThroughGrpc, MetricContract): ...
