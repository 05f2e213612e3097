"""What runs log, in SQL: params, tags, histories of metrics with their latest points, datasets.

The caller holds the lock of the run's row, so reading first and writing then is safe here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, select, tuple_, update
from sqlalchemy import insert as plain_insert

from fivefold_tracking.keys import check_unchanged
from fivefold_tracking.metrics import Point, by_key, latest
from fivefold_tracking.params import number_of
from fivefold_tracking.store import tables
from fivefold_tracking.store.loading import number, stored
from fivefold_tracking.store.records import Batch, InputRecord, Key, Page
from fivefold_tracking.store.upsert import insert, put_tags


def log(tx: Connection, run: str, experiment: int, batch: Batch) -> None:
    """Writes a batch of a run. Raises ParamChanged."""
    _log_params(tx, run, experiment, batch.params)
    put_tags(tx, tables.tags, {"run": run, "experiment": experiment}, batch.tags)
    _log_points(tx, run, experiment, by_key(batch.points))


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


def _log_points(tx: Connection, run: str, experiment: int, given: Mapping[str, list[Point]]) -> None:
    if not given:
        return
    metrics = tables.metrics
    there = {row.key: row for row in tx.execute(select(metrics).where(metrics.c.run == run, metrics.c.key.in_(given)))}
    ids = {key: row.id for key, row in there.items()}
    old, new = [], []
    for key, points in given.items():
        known = there.get(key)
        before = [Point(key, number(known.value), known.time, known.step)] if known else []
        last = latest(before + points)
        values = {
            "step": last.step,
            "time": last.time,
            "value": stored(last.value),
            "points": len(points) + (known.points if known else 0),
        }
        if known:
            old.append({"of": known.id, **values})
        else:
            new.append({"run": run, "key": key, "experiment": experiment, **values})
    if new:
        added = tx.execute(plain_insert(metrics).returning(metrics.c.key, metrics.c.id), new)
        ids.update((row.key, row.id) for row in added)
    if old:
        tx.execute(update(metrics).where(metrics.c.id == bindparam("of")), old)
    tx.execute(
        plain_insert(tables.points),
        [
            {"metric": ids[key], "step": point.step, "time": point.time, "place": place, "value": stored(point.value)}
            for key, points in given.items()
            for place, point in enumerate(points, there[key].points + 1 if key in there else 1)
        ],
    )


def points(tx: Connection, run: str, key: str, after: Key | None, limit: int) -> Page[Point]:
    """Returns a page of one metric's history; an empty one when the run has no such metric."""
    metrics, kept = tables.metrics, tables.points
    metric = tx.execute(select(metrics.c.id).where(metrics.c.run == run, metrics.c.key == key)).scalar()
    query = select(kept).where(kept.c.metric == metric)
    if after is not None:
        query = query.where(tuple_(kept.c.step, kept.c.time, kept.c.place) > tuple_(*after))
    rows = tx.execute(query.order_by(kept.c.step, kept.c.time, kept.c.place).limit(limit + 1)).all()
    page = rows[:limit]
    return Page(
        tuple(Point(key, number(row.value), row.time, row.step) for row in page),
        (page[-1].step, page[-1].time, page[-1].place) if len(rows) > limit else None,
    )


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
