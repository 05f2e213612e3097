"""Filters over runs as conditions in SQL, in two forms.

`Lookup.holds` looks one run up, which suits walking along an order until a page is full. `Lookup.among` asks whether a
run is in the set of those that match, which suits counting. SQLite builds such a set once and keeps it for the statement;
PostgreSQL plans both forms alike, so that it gets the first one only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    union_all,
)

from fivefold_runtime.filters import And, Comparison, Field, Filter, Operator, Or, Presence, sql
from fivefold_tracking.fields import ATTRIBUTES, CONTEXT, DATASETS, METRICS, PARAMS, TAGS
from fivefold_tracking.lifecycle import View
from fivefold_tracking.store.leaves import by_number, experiment_id, one_of
from fivefold_tracking.store.tables import datasets, input_tags, inputs, metrics, params, runs, tags

KEYED: dict[str, Table] = {METRICS: metrics, PARAMS: params, TAGS: tags}
COLUMNS: dict[str, ColumnElement[Any]] = {
    "run_id": runs.c.id,
    "run_name": runs.c.display_name,
    "status": runs.c.status,
    "user": runs.c.user,
    "start_time": runs.c.started,
    "end_time": runs.c.ended,
    "experiment_id": runs.c.experiment,
    "parent_run_id": func.nullif(runs.c.parent, ""),
    "source_name": runs.c.source_name,
    "source_type": func.nullif(runs.c.source_type, ""),
    "git_commit": runs.c.git_commit,
}
_NUMBERS = frozenset({"start_time", "end_time"})
_LONGEST = 500  # characters of a value that is in the index by value
_BOUND: ColumnElement[int] = literal_column(
    "500"
)  # the same, written out: only so does a database know that the index will do


@dataclass(frozen=True, slots=True)
class Scope:
    """The experiments that are searched, and which of their runs."""

    numbers: tuple[int, ...]
    gone: tuple[int, ...]  # those of them that are deleted
    view: View

    def seen(self) -> ColumnElement[bool]:
        """Returns the condition that a row of `runs` is one of them."""
        return and_(one_of(runs.c.experiment, self.numbers), self._viewed())

    def _viewed(self) -> ColumnElement[bool]:
        if self.view is View.ACTIVE:
            return runs.c.deleted.is_(None)
        if self.view is View.ALL:
            return or_(runs.c.deleted.is_(None), runs.c.deleted >= 0)
        if not self.gone:
            return runs.c.deleted >= 0
        return or_(runs.c.deleted >= 0, and_(runs.c.deleted.is_(None), runs.c.experiment.in_(self.gone)))


class Lookup:
    """Conditions for one search, within one transaction."""

    def __init__(self, tx: Connection, scope: Scope) -> None:
        self._tx = tx
        self.scope = scope
        self.sqlite = tx.dialect.name == "sqlite"
        self._long: dict[Field, bool] = {}

    def holds(self, tree: Filter, run: ColumnElement[str] = runs.c.id, *, in_turn: bool = False) -> ColumnElement[bool]:
        """Returns the condition that the run of a row of `runs` matches.

        run      the same id, of the row that is read first, so that what does not match costs no look at its run
        in_turn  the rows are looked at one after the other until enough match. PostgreSQL would often make one pass over
                 all that match, as it takes values for rarer than they are; OFFSET 0 keeps it from doing so.
        """

        def condition(leaf: Comparison | Presence) -> ColumnElement[bool]:
            if leaf.field.group == ATTRIBUTES:
                return self.attribute(leaf)
            return self._looked_up(leaf, run, in_turn)

        return sql.where(tree, condition)

    def holds_for(self, tree: Filter, run: ColumnElement[str]) -> ColumnElement[bool]:
        """Returns the condition that the run with an id matches, without a row of `runs` to look at."""

        def condition(leaf: Comparison | Presence) -> ColumnElement[bool]:
            if leaf.field.group == ATTRIBUTES:
                return exists().where(runs.c.id == run, self.attribute(leaf))
            return self._looked_up(leaf, run)

        return sql.where(tree, condition)

    def among(self, tree: Filter, run: ColumnElement[str]) -> ColumnElement[bool]:
        """Returns the condition that the run with an id is one of the set that matches."""
        if not self.sqlite:
            return self.holds_for(tree, run)
        if is_of_attributes(tree):
            chosen = select(runs.c.id).where(one_of(runs.c.experiment, self.scope.numbers))
            return run.in_(chosen.where(sql.where(tree, self.attribute)))
        if isinstance(tree, (And, Or)):
            join = and_ if isinstance(tree, And) else or_
            return join(*(self.among(part, run) for part in tree.parts))
        if tree.field.group == DATASETS:
            return self._looked_up(tree, run)
        if isinstance(tree, Presence) and not tree.present:
            return run.not_in(self.having(replace(tree, present=True)))
        return run.in_(self.having(tree))

    def having(self, leaf: Comparison | Presence) -> Select[Any]:
        """Returns the ids of the runs whose metric, param or tag is there and compares so, read along an index."""
        table = KEYED[leaf.field.group]
        condition = self.compared(table, leaf)
        found = select(table.c.run).where(one_of(table.c.experiment, self.scope.numbers))
        found = found.where(table.c.key == leaf.field.key, condition)
        if table is metrics or by_number(leaf):
            return found
        if self._has_only_short(leaf):
            return found.where(_short(table))
        both = union_all(found.where(_short(table)), found.where(_long(table))).subquery()
        return select(both.c.run)

    def rows(self, field: Field, numbers: Sequence[int]) -> tuple[Any, list[ColumnElement[bool]]]:
        """Returns the rows of a metric, param or tag in the order of their values, and the conditions that choose them."""
        table = KEYED[field.group]
        chosen = [one_of(table.c.experiment, numbers), table.c.key == field.key]
        if field.group == METRICS:
            return table, chosen
        if not self.has_long(field):
            return table, [*chosen, _short(table)]
        both = (select(table).where(*chosen, length(table)) for length in (_short, _long))
        return union_all(*both).subquery(), []

    def has_long(self, field: Field) -> bool:
        """Says whether a run of the scope has a value of this param or tag that is too long for the index by value."""
        if field not in self._long:
            table = KEYED[field.group]
            query = select(table.c.run).where(one_of(table.c.experiment, self.scope.numbers), table.c.key == field.key)
            self._long[field] = self._tx.execute(query.where(_long(table)).limit(1)).first() is not None
        return self._long[field]

    def _has_only_short(self, leaf: Comparison | Presence) -> bool:
        """Says whether what compares so is in the index by value."""
        if leaf.field.group == METRICS or by_number(leaf):
            return False
        return _is_short(leaf) or not self.has_long(leaf.field)

    def unseen(self, run: ColumnElement[str], experiment: ColumnElement[int]) -> list[ColumnElement[bool]]:
        """Returns conditions that leave only runs of the scope's view, for rows of the scope's experiments."""
        scope = self.scope
        deleted = select(runs.c.id).where(one_of(runs.c.experiment, scope.numbers), runs.c.deleted.is_not(None))
        if scope.view is View.ACTIVE:
            return [self._not_in(run, deleted)] if self._any(deleted) else []
        purged = deleted.where(runs.c.deleted < 0)
        left = [self._not_in(run, purged, purged=True)] if self._any(purged) else []
        if scope.view is View.ALL:
            return left
        itself = run.in_(deleted)
        return [*left, or_(itself, experiment.in_(scope.gone)) if scope.gone else itself]

    def attribute(self, leaf: Comparison | Presence) -> ColumnElement[bool]:
        """Returns the condition that an attribute of a row of `runs` compares so."""
        key = leaf.field.key
        column = COLUMNS[key]
        if isinstance(leaf, Presence):
            return column.is_not(None) if leaf.present else column.is_(None)
        if key == "parent_run_id" and leaf.operator is Operator.EQUAL and not leaf.negated:
            # Said twice, as the index has only runs with a parent.
            return and_(runs.c.parent == leaf.value, runs.c.parent != literal_column("''"))
        if key in _NUMBERS:
            return sql.number(column, leaf)
        if key == "experiment_id":
            return experiment_id(column, leaf, sqlite=self.sqlite)
        return sql.text(column, leaf, sqlite=self.sqlite)

    def _looked_up(
        self, leaf: Comparison | Presence, run: ColumnElement[str], in_turn: bool = False
    ) -> ColumnElement[bool]:
        if leaf.field.group == DATASETS:
            return self._used(leaf, run)
        table = KEYED[leaf.field.group].alias()
        there = select(table.c.run).where(table.c.run == run, table.c.key == leaf.field.key)
        if isinstance(leaf, Presence):
            return there.exists() if leaf.present else not_(there.exists())
        there = there.where(self.compared(table, leaf))
        if self.sqlite:
            return there.exists()
        if in_turn:
            return there.offset(literal_column("0")).exists()
        # PostgreSQL may make one pass over all that match; then this lets it use the index by value.
        there = there.where(one_of(table.c.experiment, self.scope.numbers))
        return (there.where(_short(table)) if self._has_only_short(leaf) else there).exists()

    def _used(self, leaf: Comparison | Presence, run: ColumnElement[str]) -> ColumnElement[bool]:
        """Returns the condition that a run used a dataset that compares so; negated, that it used some, none of them so."""
        used = inputs.join(datasets, datasets.c.id == inputs.c.dataset)
        column = datasets.c.name if leaf.field.key == "name" else datasets.c.digest
        some = select(inputs.c.dataset).where(inputs.c.run == run)
        if leaf.field.key == "context":
            same = and_(input_tags.c.run == inputs.c.run, input_tags.c.dataset == inputs.c.dataset)
            used, column = used.join(input_tags, same), input_tags.c.value
            some = some.where(input_tags.c.key == CONTEXT)
        some = some.select_from(used).correlate_except(inputs, datasets, input_tags)
        if isinstance(leaf, Presence):
            return some.exists() if leaf.present else not_(some.exists())
        plainly = some.where(sql.text(column, replace(leaf, negated=False), sqlite=self.sqlite)).exists()
        return and_(some.exists(), not_(plainly)) if leaf.negated else plainly

    def compared(self, table: Any, leaf: Comparison | Presence) -> ColumnElement[bool]:
        """Returns the condition on the value of a row of metrics, params or tags."""
        if isinstance(leaf, Presence):
            return true()
        if leaf.field.group == METRICS:
            condition = sql.number(table.c.value, leaf)
            # NULL is NaN, which differs from every number and is neither less nor more than one.
            differs = leaf.operator in (Operator.NOT_EQUAL, Operator.NOT_IN)
            return or_(condition, table.c.value.is_(None)) if differs != leaf.negated else condition
        if by_number(leaf):
            return and_(table.c.number.is_not(None), sql.number(table.c.number, leaf))
        return sql.text(table.c.value, leaf, sqlite=self.sqlite)

    def _any(self, chosen: Select[Any]) -> bool:
        return self._tx.execute(chosen.limit(1)).first() is not None

    def _not_in(self, run: ColumnElement[str], chosen: Select[Any], *, purged: bool = False) -> ColumnElement[bool]:
        if self.sqlite:
            return run.not_in(chosen)
        # PostgreSQL's NOT IN compares each with each when the set outgrows its memory.
        other = runs.alias()
        sought = exists().where(other.c.id == run, other.c.deleted < 0 if purged else other.c.deleted.is_not(None))
        return not_(sought)


def _short(table: Any) -> ColumnElement[bool]:
    return func.length(table.c.value) <= _BOUND


def _long(table: Any) -> ColumnElement[bool]:
    return func.length(table.c.value) > _BOUND


def _is_short(leaf: Comparison | Presence) -> bool:
    """Says whether a text can only be equal to short ones."""
    if not isinstance(leaf, Comparison) or leaf.negated or leaf.operator not in (Operator.EQUAL, Operator.IN):
        return False
    return all(len(str(value)) <= _LONGEST for value in leaf.values)


def is_of_attributes(tree: Filter) -> bool:
    """Says whether a filter looks at attributes only."""
    return all(leaf.field.group == ATTRIBUTES for leaf in leaves(tree))


def leaves(tree: Filter) -> Iterator[Comparison | Presence]:
    """Yields the comparisons of a filter."""
    if isinstance(tree, (And, Or)):
        for part in tree.parts:
            yield from leaves(part)
    else:
        yield tree


def conjuncts(tree: Filter | None) -> tuple[Filter, ...]:
    """Returns the filters that all must hold."""
    return () if tree is None else tree.parts if isinstance(tree, And) else (tree,)
