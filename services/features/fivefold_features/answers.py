"""The answer to GetOnlineFeatures: packed rows of several tables into one block of values per kind. NumPy, no Arrow.

What counts as there is decided exactly as `pointintime.as_of` does: a row that is not true or not known yet at the
moment is not there, one older than the look-back has expired. Nothing here runs once per value, except for texts.
Statuses and event times are only made when they are sent: asked for, or where something is not PRESENT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from fivefold_features.functions import Cells, Program
from fivefold_features.lookups import Plan, Resolved
from fivefold_features.packing import DTYPES, TEXTS, Heads, Layout, Places, Unpacked, layout_of, places
from fivefold_features.schema import Kind, Schema

_MICROSECOND = timedelta(microseconds=1)
ALWAYS = -(1 << 63)  # the event of a row of a table without time stamps, as in pointintime
# Why a value is what it is: the numbers of FeatureStatus, plain because an enum's members cost too much here.
PRESENT, NULL, NOT_FOUND, EXPIRED, DEFAULTED = 1, 2, 3, 4, 5
_FLOATS = (Kind.FLOAT, Kind.DOUBLE)
_ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Block:
    """All values of one kind: `data` and `offsets` as FeatureBlock has them."""

    data: bytes
    offsets: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A block for each of Answerer.kinds, in order.

    statuses     one byte per value (feature after feature, row by row); empty: all PRESENT and not asked for
    event_times  int64 microseconds, laid out alike; empty: not asked for
    """

    blocks: list[Block]
    statuses: bytes
    event_times: bytes


@dataclass(frozen=True, slots=True)
class _Gathering:
    """How the features of one lookup come out of rows of one layout.

    absent   features (by place in the answer) that were added after such rows were packed
    present  the others, and nulls: the column of each
    numbers  per kind: the features' lines in its block, and their places among the columns of that width
    texts    per text: its kind, its line in the block, its column
    """

    layout: Layout
    absent: list[int]
    present: Places
    nulls: Places
    numbers: list[tuple[Kind, Places, Places]]
    texts: list[tuple[Kind, int, int]]


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one layout that count, where they are in the request, and the null of each of their features."""

    gathering: _Gathering
    where: Places
    unpacked: Unpacked
    nulls: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Found:
    """What one lookup found.

    whole    whether every value is there
    expired  rows of the request; events: their event times, None where nobody asked
    """

    groups: list[_Group]
    whole: bool
    expired: npt.NDArray[np.intp]
    events: npt.NDArray[np.int64] | None


class _Draft:
    """An answer in the making: per kind a matrix or lists of lines, and statuses where they are needed."""

    __slots__ = ("numbers", "statuses", "texts")

    def __init__(self, lines: Mapping[Kind, tuple[int, ...]], count: int, rows: int, *, whole: bool) -> None:
        self.numbers: dict[Kind, npt.NDArray[Any]] = {}
        self.texts: dict[Kind, list[list[bytes]]] = {}
        for kind, features in lines.items():
            shape = (len(features), rows)
            if kind in TEXTS:
                self.texts[kind] = [[b""] * rows for _ in features]
            elif whole:
                self.numbers[kind] = np.empty(shape, DTYPES[kind])
            else:
                self.numbers[kind] = np.full(shape, np.nan if kind in _FLOATS else 0, DTYPES[kind])
        self.statuses: npt.NDArray[np.uint8] | None = None if whole else np.full((count, rows), NOT_FOUND, np.uint8)


class Answerer:
    """Makes the answers of one spec; made once, used by many threads.

    kinds  the kinds of the blocks, with the places of their features in the answer
    """

    def __init__(self, plan: Plan, schemas: Sequence[Schema], program: Program | None = None) -> None:
        """
        schemas  per lookup the schema of its table
        program  the spec's functions, None when it has none
        """
        self.plan = plan
        self._program = program
        self._columns = (*plan.features, *(program.results if program else ()))
        names = [[column.name for column in schema.values] for schema in schemas]
        self._sources = [
            [names[index].index(feature.source) for feature in lookup.features]
            for index, lookup in enumerate(plan.lookups)
        ]
        self._kinds = [tuple(column.kind for column in schema.values) for schema in schemas]
        of_kind: dict[Kind, list[int]] = {}
        self._lines: list[int] = []  # of each feature, in the block of its kind
        for place, feature in enumerate(self._columns):
            found = of_kind.setdefault(feature.kind, [])
            self._lines.append(len(found))
            found.append(place)
        self.kinds: dict[Kind, tuple[int, ...]] = {kind: tuple(found) for kind, found in of_kind.items()}
        self._defaulted = [any(feature.default is not None for feature in lookup.features) for lookup in plan.lookups]
        self._gatherings: dict[tuple[int, int], _Gathering] = {}

    def answer(
        self,
        found: Sequence[Sequence[bytes | None]],
        rows: int,
        moment: int,
        *,
        inputs: Mapping[str, Cells] | None = None,
        statuses: bool = False,
        event_times: bool = False,
    ) -> Answer | None:
        """Returns the answer; None when a row has columns that the schemas do not have: one was added meanwhile.

        found   per lookup and request row the packed row of its key, None where there is none
        rows    how many rows were asked for
        moment  microseconds; ages are measured against it
        inputs  columns of the request that functions take

        Raises FunctionFailed.
        """
        parts = []
        for index, lookup in enumerate(self.plan.lookups):
            part = self._find(index, lookup, found[index], moment, event_times)
            if part is None:
                return None
            parts.append(part)
        draft = _Draft(self.kinds, len(self._columns), rows, whole=all(part.whole for part in parts))
        first = 0
        for index, (lookup, part) in enumerate(zip(self.plan.lookups, parts, strict=True)):
            self._fill(draft, part, first, len(lookup.features))
            if self._defaulted[index] and not part.whole:
                self._default(draft, lookup, first)
            first += len(lookup.features)
        if self._program is not None:
            self._run(self._program, draft, inputs or {}, rows)
        if draft.statuses is None and statuses:
            draft.statuses = np.full((len(self._columns), rows), PRESENT, np.uint8)
        return Answer(
            [_block(kind, draft) for kind in self.kinds],
            b"" if draft.statuses is None else draft.statuses.tobytes(),
            self._event_times(parts, rows) if event_times else b"",
        )

    def _find(
        self, index: int, lookup: Resolved, asked: Sequence[bytes | None], moment: int, event_times: bool
    ) -> _Found | None:
        where: npt.NDArray[np.intp] | None = None  # None: all rows of the request
        rows: Sequence[bytes] = asked  # type: ignore[assignment]
        if None in asked:
            where = np.array([place for place, row in enumerate(asked) if row is not None], np.intp)
            rows = [row for row in asked if row is not None]
        heads = Heads(rows)
        kept, expired = heads.up_to(moment), _NOWHERE
        events = _events(heads, kept, where, len(asked)) if event_times else None
        if lookup.look_back is not None:
            old = kept & heads.before(moment - lookup.look_back // _MICROSECOND)
            if old.any():
                expired = np.flatnonzero(old) if where is None else where[old]
                kept &= ~old
        if not kept.all():
            where = np.flatnonzero(kept) if where is None else where[kept]
            rows = [row for row, counts in zip(rows, kept.tolist(), strict=True) if counts]
        groups = []
        columns = heads.columns[kept]
        for width in set(columns.tolist()):
            if width > len(self._kinds[index]):
                return None
            same = columns == width
            if same.all():
                groups.append(self._group(index, width, _ALL if where is None else where, rows))
                break
            chosen = np.flatnonzero(same)
            some = [rows[place] for place in chosen.tolist()]
            groups.append(self._group(index, width, chosen if where is None else where[chosen], some))
        whole = where is None and all(not one.gathering.absent and not one.nulls.any() for one in groups)
        return _Found(groups, whole, expired, events)

    def _group(self, index: int, width: int, where: Places, rows: Sequence[bytes]) -> _Group:
        gathering = self._gatherings.get((index, width))
        if gathering is None:
            gathering = self._gatherings[index, width] = self._gathering(index, width)
        unpacked = gathering.layout.unpack(rows)
        return _Group(gathering, where, unpacked, unpacked.nulls(gathering.nulls))

    def _gathering(self, index: int, width: int) -> _Gathering:
        layout = layout_of(self._kinds[index][:width])
        first = sum(len(lookup.features) for lookup in self.plan.lookups[:index])
        absent, present, nulls, texts = [], [], [], []
        numbers: dict[Kind, tuple[list[int], list[int]]] = {}
        for offset, feature in enumerate(self.plan.lookups[index].features):
            place, column = first + offset, self._sources[index][offset]
            if column >= width:
                absent.append(place)
                continue
            present.append(place)
            nulls.append(column)
            if feature.kind in TEXTS:
                texts.append((feature.kind, self._lines[place], column))
            else:
                lines, order = numbers.setdefault(feature.kind, ([], []))
                lines.append(self._lines[place])
                order.append(layout.order[column])
        gathered = [(kind, places(lines), places(order)) for kind, (lines, order) in numbers.items()]
        return _Gathering(layout, absent, places(present), places(nulls), gathered, texts)

    def _fill(self, draft: _Draft, part: _Found, first: int, count: int) -> None:
        if draft.statuses is not None:
            if part.whole:
                draft.statuses[first : first + count] = PRESENT
            draft.statuses[first : first + count, part.expired] = EXPIRED
        for group in part.groups:
            gathering, where = group.gathering, group.where
            if draft.statuses is not None and not part.whole:
                # A byte is 0 where there is a value, 1 where it is null: PRESENT and NULL follow each other so.
                _put(draft.statuses, gathering.present, where, group.nulls.T + np.uint8(PRESENT))
                if gathering.absent:
                    _put(draft.statuses, places(gathering.absent), where, NULL)
            for kind, lines, order in gathering.numbers:
                _put(draft.numbers[kind], lines, where, group.unpacked.numbers(kind, order))
            for kind, line, column in gathering.texts:
                texts = group.unpacked.texts(column)
                if isinstance(where, slice):
                    draft.texts[kind][line] = texts
                    continue
                target = draft.texts[kind][line]
                for row, text in zip(where.tolist(), texts, strict=True):
                    target[row] = text

    def _default(self, draft: _Draft, lookup: Resolved, first: int) -> None:
        assert draft.statuses is not None
        for place, feature in enumerate(lookup.features, first):
            if feature.default is None:
                continue
            missing = draft.statuses[place] != PRESENT
            if not missing.any():
                continue
            draft.statuses[place, missing] = DEFAULTED
            line = self._lines[place]
            if feature.kind not in TEXTS:
                draft.numbers[feature.kind][line, missing] = feature.default
                continue
            default = feature.default.encode() if isinstance(feature.default, str) else feature.default
            assert isinstance(default, bytes)
            for row in np.flatnonzero(missing).tolist():
                draft.texts[feature.kind][line][row] = default

    def _run(self, program: Program, draft: _Draft, inputs: Mapping[str, Cells], rows: int) -> None:
        """Fills in what the functions make."""
        cells = dict(inputs)
        for place in program.taken:
            feature = self._columns[place]
            missing = (
                None if draft.statuses is None else np.isin(draft.statuses[place], (PRESENT, DEFAULTED), invert=True)
            )
            line = self._lines[place]
            if feature.kind in TEXTS:
                cells[feature.name] = Cells.of_texts(feature.kind, draft.texts[feature.kind][line], missing)
            else:
                cells[feature.name] = Cells.of_numbers(draft.numbers[feature.kind][line], missing)
        for place, made in enumerate(program.run(cells, rows), len(self.plan.features)):
            feature, line = self._columns[place], self._lines[place]
            if feature.kind in TEXTS:
                draft.texts[feature.kind][line] = made.texts()
            else:
                draft.numbers[feature.kind][line] = made.numbers(feature.kind)
            if draft.statuses is None and made.missing.any():
                draft.statuses = np.full((len(self._columns), rows), PRESENT, np.uint8)
            if draft.statuses is not None:
                draft.statuses[place] = np.where(made.missing, np.uint8(NULL), np.uint8(PRESENT))

    def _event_times(self, parts: Sequence[_Found], rows: int) -> bytes:
        times = np.zeros((len(self._columns), rows), np.dtype("<i8"))
        first = 0
        for lookup, part in zip(self.plan.lookups, parts, strict=True):
            assert part.events is not None  # They were asked for.
            times[first : first + len(lookup.features)] = part.events
            first += len(lookup.features)
        return times.tobytes()


_NOWHERE = np.zeros(0, np.intp)


def _events(
    heads: Heads, counts: npt.NDArray[np.bool_], where: npt.NDArray[np.intp] | None, rows: int
) -> npt.NDArray[np.int64]:
    """Returns the event times of a request's rows, 0 where there is no row that is true and known, or no time."""
    events = np.where(counts, heads.events(), 0)
    events[events == ALWAYS] = 0
    if where is None:
        return events
    spread = np.zeros(rows, np.int64)
    spread[where] = events
    return spread


def _put(target: npt.NDArray[Any], lines: Places, where: Places, values: npt.NDArray[Any] | int) -> None:
    """Sets some lines of a matrix, at some rows."""
    if isinstance(where, slice) or isinstance(lines, slice):
        target[lines, where] = values
    else:
        target[lines[:, None], where] = values


def _block(kind: Kind, draft: _Draft) -> Block:
    if kind not in TEXTS:
        return Block(draft.numbers[kind].tobytes(), b"")
    values = [text for line in draft.texts[kind] for text in line]
    ends = np.cumsum(np.fromiter(map(len, values), dtype=np.uint32, count=len(values)), dtype="<u4")
    return Block(b"".join(values), ends.tobytes())
