"""MLflow's database with the runs of `filled`, by direct inserts into the tables that `mlflow server` made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import MetaData, create_engine, insert, text

from benchmarks.tracking.filled import Filled, run_of

_AT_ONCE = 2000  # runs of one transaction


def fill(url: str, experiment: str, count: int) -> None:
    """Adds the runs 0 to `count` - 1 to an experiment that is there. The server must not be writing."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    metadata = MetaData()
    metadata.reflect(engine, only=["runs", "params", "tags", "latest_metrics", "metrics"])
    for start in range(0, count, _AT_ONCE):
        filled = [run_of(index) for index in range(start, min(start + _AT_ONCE, count))]
        with engine.begin() as tx:
            for table, rows in _rows(int(experiment), filled):
                tx.execute(insert(metadata.tables[table]), rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))  # as ours is; without it a search on SQLite takes sixteen seconds
    engine.dispose()


def _rows(experiment: int, filled: list[Filled]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield (
        "runs",
        [
            {
                "run_uuid": one.id,
                "name": one.name,
                "source_type": "LOCAL",
                "source_name": "train.py",
                "entry_point_name": "",
                "user_id": one.user,
                "status": one.status,
                "start_time": one.started // 1000,
                "end_time": one.started // 1000 + int(one.metrics["fit_seconds"] * 1000),
                "source_version": "",
                "lifecycle_stage": "active",
                "artifact_uri": f"mlflow-artifacts:/{experiment}/{one.id}/artifacts",
                "experiment_id": experiment,
            }
            for one in filled
        ],
    )
    yield (
        "params",
        [{"run_uuid": one.id, "key": key, "value": value} for one in filled for key, value in one.params.items()],
    )
    yield (
        "tags",
        [{"run_uuid": one.id, "key": key, "value": value} for one in filled for key, value in one.tags.items()],
    )
    points = [
        {
            "run_uuid": one.id,
            "key": key,
            "value": value,
            "timestamp": one.started // 1000,
            "step": 10,
            "is_nan": False,
        }
        for one in filled
        for key, value in one.metrics.items()
    ]
    yield "metrics", points
    yield "latest_metrics", points
