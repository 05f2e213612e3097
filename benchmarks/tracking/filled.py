"""A tracking database with many runs, written by direct inserts: `fill(database, runs=100_000)`.

Every run has 10 params, 6 metrics and 6 tags, as a training script leaves them. The values come from a seed, so that two
databases, and another tracker's, can be filled alike: `run_of(index)` says what a run has.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, insert, text

from fivefold_runtime.sql import Database
from fivefold_tracking.params import number_of
from fivefold_tracking.store.tables import experiments, metrics, params, runs, tags

BEGIN = 1_760_000_000_000_000  # microseconds; one run starts each second
_AT_ONCE = 5000  # rows of one statement
_MODELS = ("xgboost", "lightgbm", "logistic", "forest")
_STATUSES = ("FINISHED",) * 17 + ("FAILED", "FAILED", "KILLED")
_USERS = ("ada", "grace", "linus")


@dataclass(frozen=True, slots=True)
class Filled:
    """What one run has."""

    id: str
    name: str
    status: str
    user: str
    started: int  # microseconds
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


def run_of(index: int) -> Filled:
    """Returns the run of a number from 0 on, always the same."""
    chance = random.Random(index)
    user = chance.choice(_USERS)
    auc = round(chance.betavariate(8, 2), 6)
    return Filled(
        id=f"{index:08x}{chance.getrandbits(96):024x}",
        name=f"trial-{index}",
        status=chance.choice(_STATUSES),
        user=user,
        started=BEGIN + index * 1_000_000,
        params={
            "model": chance.choice(_MODELS),
            "learning_rate": repr(round(10 ** chance.uniform(-4, -0.5), 6)),
            "depth": str(chance.randint(2, 12)),
            "trees": str(chance.choice((50, 100, 200, 400, 800))),
            "subsample": repr(chance.choice((0.5, 0.6, 0.7, 0.8, 0.9, 1.0))),
            "seed": str(index),
            "early_stopping": str(chance.random() < 0.5),
            "objective": "binary:logistic",
            "dataset": f"/data/flights/{chance.randint(1, 9)}.parquet",
            "imputer": chance.choice(("mean", "median", "most_frequent")),
        },
        metrics={
            "auc": auc,
            "logloss": round(1 - auc + chance.uniform(0, 0.1), 6),
            "accuracy": round(auc - chance.uniform(0, 0.05), 2),
            "train_auc": round(min(1.0, auc + chance.uniform(0, 0.05)), 6),
            "fit_seconds": round(chance.expovariate(0.1), 3),
            "rows": 100_000.0,
        },
        tags={
            "mlflow.user": user,
            "mlflow.runName": f"trial-{index}",
            "mlflow.source.name": "train.py",
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": f"{chance.randint(0, 50):040x}",
            "team": chance.choice(("search", "ads", "risk")),
        },
    )


def fill(database: Database, count: int = 50_000, display_name: str = "filled") -> int:
    """Adds an experiment with `count` runs and returns its number. Histories of metrics stay empty."""
    with database.write() as tx:
        number = tx.execute(
            insert(experiments)
            .values(display_name=display_name, created=BEGIN, updated=BEGIN, revision=1)
            .returning(experiments.c.number)
        ).scalar_one()
    for start in range(0, count, _AT_ONCE):
        filled = [run_of(index) for index in range(start, min(start + _AT_ONCE, count))]
        with database.write() as tx:
            _write(tx, runs, (_run(number, one) for one in filled))
            _write(tx, params, _params(number, filled))
            _write(tx, tags, _tags(number, filled))
            _write(tx, metrics, _metrics(number, filled))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return number


def _run(experiment: int, one: Filled) -> dict[str, Any]:
    return {
        "id": one.id,
        "experiment": experiment,
        "display_name": one.name,
        "status": one.status,
        "user": one.user,
        "started": one.started,
        "ended": one.started + int(one.metrics["fit_seconds"] * 1_000_000),
        "parent": "",
        "source_type": "LOCAL",
        "source_name": "train.py",
        "entry_point": "",
        "git_commit": one.tags["mlflow.source.git.commit"],
        "git_repo": "",
        "created": one.started,
        "revision": 1,
    }


def _params(experiment: int, filled: Sequence[Filled]) -> Iterator[dict[str, Any]]:
    for one in filled:
        for key, value in sorted(one.params.items()):
            yield {"run": one.id, "key": key, "value": value, "experiment": experiment, "number": number_of(value)}


def _tags(experiment: int, filled: Sequence[Filled]) -> Iterator[dict[str, Any]]:
    for one in filled:
        for key, value in sorted(one.tags.items()):
            yield {"run": one.id, "key": key, "value": value, "experiment": experiment}


def _metrics(experiment: int, filled: Sequence[Filled]) -> Iterator[dict[str, Any]]:
    for one in filled:
        for key, value in sorted(one.metrics.items()):
            yield {
                "run": one.id,
                "key": key,
                "experiment": experiment,
                "step": 10,
                "time": one.started,
                "value": value,
                "points": 1,
            }


def _write(tx: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows, on PostgreSQL by COPY."""
    rows = iter(rows)
    if tx.dialect.name == "postgresql":
        first = next(rows)
        columns = ", ".join(f'"{column}"' for column in first)
        cursor = tx.connection.cursor()
        with cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            copy.write_row(tuple(first.values()))
            for row in rows:
                copy.write_row(tuple(row.values()))
        return
    while part := list(islice(rows, _AT_ONCE)):
        tx.execute(insert(table), part)
