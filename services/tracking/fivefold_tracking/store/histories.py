"""What runs log, in SQL: params, tags, points of metrics, datasets.

The caller holds the lock of the run's row, so reading first and writing then is safe here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select
from sqlalchemy import insert as plain_insert

from fivefold_tracking.keys import check_unchanged
from fivefold_tracking.metrics import by_key
from fivefold_tracking.params import number_of
from fivefold_tracking.store import points, tables
from fivefold_tracking.store.logged_models import record_metrics
from fivefold_tracking.store.records import Batch, InputRecord
from fivefold_tracking.store.upsert import insert, put_tags


def log(tx: Connection, run: str, experiment: int, batch: Batch) -> None:
    """Writes a batch of a run. Raises ParamChanged, NotFound for a logged model that is not of the experiment."""
    _log_params(tx, run, experiment, batch.params)
    put_tags(tx, tables.tags, {"run": run, "experiment": experiment}, batch.tags)
    points.add(tx, run, experiment, by_key(batch.points))
    record_metrics(tx, experiment, run, batch.points)


def _log_params(tx: Connection, run: str, experiment: int, given: Mapping[str, str]) -> None:
    if not given:
        return
    query = select(tables.params.c.key, tables.params.c.value).where(
        tables.params.c.run == run, tables.params.c.key.in_(given)
    )
    there = {row.key: row.value for row in tx.execute(query)}
    for key, value in there.items():
        check_unchanged(key, value, given[key])
    new = [
        {"run": run, "key": key, "value": value, "experiment": experiment, "number": number_of(value)}
        for key, value in given.items()
        if key not in there
    ]
    if new:
        tx.execute(plain_insert(tables.params), new)


def log_inputs(tx: Connection, run: str, experiment: int, given: Iterable[InputRecord]) -> None:
    """Writes the datasets that a run used. The experiment's first description of a dataset stands."""
    # In one order everywhere, so that two runs that log the same datasets never wait for each other in a circle.
    for one in sorted(given, key=lambda each: (each.dataset, each.digest)):
        dataset = _dataset(tx, experiment, one)
        tx.execute(insert(tx, tables.inputs).values(run=run, dataset=dataset).on_conflict_do_nothing())
        put_tags(tx, tables.input_tags, {"run": run, "dataset": dataset}, one.tags)


def _dataset(tx: Connection, experiment: int, one: InputRecord) -> int:
    datasets = tables.datasets
    tx.execute(
        insert(tx, datasets)
        .values(
            experiment=experiment,
            name=one.dataset,
            digest=one.digest,
            source_type=one.source_type,
            source=one.source,
            schema=one.schema,
            profile=one.profile,
        )
        .on_conflict_do_nothing()
    )
    return tx.execute(
        select(datasets.c.id).where(
            datasets.c.experiment == experiment, datasets.c.name == one.dataset, datasets.c.digest == one.digest
        )
    ).scalar_one()
