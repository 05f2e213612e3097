"""Histories of metrics in SQL: read, thinned out, followed, and written by resumable streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import Connection, bindparam, select

from fivefold_runtime.prepared import Prepared
from fivefold_runtime.sql import Database
from fivefold_tracking import lifecycle, sequence
from fivefold_tracking.bell import Bell
from fivefold_tracking.metrics import Series, joined
from fivefold_tracking.store import points, sampling
from fivefold_tracking.store.finding import find
from fivefold_tracking.store.records import Curve, Fresh, History, Key, Part
from fivefold_tracking.store.tables import metrics, streams
from fivefold_tracking.store.upsert import insert

_ACKNOWLEDGED = Prepared(
    select(streams.c.acknowledged).where(streams.c.run == bindparam("of"), streams.c.name == bindparam("called"))
)


class SqlMetricStore:
    """Keeps the promises of MetricStore."""

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell

    def points(
        self, run: str, key: str, after: Key | None, limit: int, lowest: int | None = None, highest: int | None = None
    ) -> History:
        with self._database.read() as tx:
            find(tx, run, lock=False)
            points.along_the_index(tx)
            return points.page(tx, run, key, after, limit, lowest, highest)

    def sample(
        self,
        runs: Sequence[str],
        keys: Sequence[str],
        most: int,
        lowest: int | None = None,
        highest: int | None = None,
        altogether: int = 200_000,
    ) -> tuple[Curve, ...]:
        query = select(metrics.c.run, metrics.c.key, metrics.c.id, metrics.c.points)
        with self._database.read() as tx:
            for run in runs:
                find(tx, run, lock=False)
            rows = tx.execute(query.where(metrics.c.run.in_(runs), metrics.c.key.in_(keys))).all()
            there = {(row.run, row.key): row for row in rows}
            asked = [there[run, key] for run in runs for key in keys if (run, key) in there]
            each = min(most, altogether // max(1, len(asked)))
            points.along_the_index(tx)
            curves = (
                Curve(row.run, sampling.sample(tx, row.id, row.key, row.points, each, lowest, highest), row.points)
                for row in asked
            )
            return tuple(curve for curve in curves if curve.series)

    def counts(self, run: str) -> Mapping[str, int]:
        with self._database.read() as tx:
            find(tx, run, lock=False)
            return {key: row.points for key, row in points.known(tx, run, ()).items()}

    def since(self, run: str, keys: Sequence[str], seen: Mapping[str, int], most: int) -> Fresh:
        found, now_seen = [], {}
        with self._database.read() as tx:
            status = find(tx, run, lock=False).status
            points.along_the_index(tx)
            for key, row in points.known(tx, run, keys).items():
                before = max(0, seen.get(key, 0))
                if most <= 0:
                    break
                if row.points > before:
                    series, now_seen[key] = points.since(tx, row.id, key, before, most)
                    found.append(series)
                    most -= len(series)
        return Fresh(tuple(found), now_seen, status)

    def acknowledged(self, run: str, stream: str) -> int:
        with self._database.read() as tx:
            find(tx, run, lock=False)
            return _position(tx, run, stream)

    def append(self, run: str, stream: str, parts: Sequence[Part]) -> int:
        return self._database.run(partial(self._append, run, stream, parts))

    def _append(self, run: str, stream: str, parts: Sequence[Part], tx: Connection) -> int:
        found = find(tx, run, lock=True)
        found.check_active()
        lifecycle.check_run_open(found.name, found.status)
        before = _position(tx, run, stream)
        new: list[Part] = []
        after = before
        for part in parts:
            if part.sequence > after:  # What is on disk, or has come in this write, came twice.
                after = sequence.follow(part.sequence, after)
                new.append(part)
        if not new:
            return before
        series: list[Series] = [one for part in new for one in part.series]
        points.add(tx, run, found.experiment, joined(series))
        statement = insert(tx, streams)
        statement = statement.on_conflict_do_update(
            index_elements=[streams.c.run, streams.c.name], set_={"acknowledged": statement.excluded.acknowledged}
        )
        tx.execute(statement, {"run": run, "name": stream, "acknowledged": after})
        self._database.after_commit(partial(self._bell.ring, run))
        return after


def _position(tx: Connection, run: str, stream: str) -> int:
    row = _ACKNOWLEDGED.first(tx, {"of": run, "called": stream})
    return row[0] if row else 0
