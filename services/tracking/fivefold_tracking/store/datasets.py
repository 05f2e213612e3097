"""Datasets of experiments, by how runs used them, in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select, tuple_

from fivefold_runtime.sql import Database
from fivefold_tracking.fields import CONTEXT
from fivefold_tracking.store.model_records import DatasetRecord
from fivefold_tracking.store.records import Key, Page
from fivefold_tracking.store.tables import datasets, input_tags, inputs, runs


class SqlDatasetStore:
    """Keeps the promises of DatasetStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, experiments: Sequence[int], after: Key | None, limit: int) -> Page[DatasetRecord]:
        used = select(inputs.c.run).join(runs, runs.c.id == inputs.c.run)
        used = used.where(inputs.c.dataset == datasets.c.id, runs.c.deleted.is_(None) | (runs.c.deleted >= 0))
        order = (datasets.c.experiment, datasets.c.name, datasets.c.digest)
        query = select(datasets.c.id, *order).where(datasets.c.experiment.in_(experiments), used.exists())
        if after is not None:
            query = query.where(tuple_(*order) > tuple_(*after))
        contexts: defaultdict[int, list[str]] = defaultdict(list)
        with self._database.read() as tx:
            rows = tx.execute(query.order_by(*order).limit(limit + 1)).all()
            page = rows[:limit]
            tags = select(input_tags.c.dataset, input_tags.c.value).distinct()
            tags = tags.where(input_tags.c.dataset.in_([row.id for row in page]), input_tags.c.key == CONTEXT)
            for dataset, value in tx.execute(tags.order_by(input_tags.c.value)):
                contexts[dataset].append(value)
        found = tuple(DatasetRecord(row.experiment, row.name, row.digest, tuple(contexts[row.id])) for row in page)
        return Page(found, tuple(page[-1][1:]) if len(rows) > limit else None)
