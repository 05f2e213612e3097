"""The answer to GetOnlineFeatures: packed rows of several tables into one block of values per kind. NumPy, no Arrow.

What counts as there is decided exactly as `pointintime.as_of` does: a row that is not true or not known yet at the
moment is not there, one older than the look-back has expired. Nothing here runs once per value, except for texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from fivefold_features.lookups import Plan, Resolved
from fivefold_features.packing import DTYPES, TEXTS, Layout, columns_in, layout_of, times_of
from fivefold_features.schema import Kind, Schema

_MICROSECOND = timedelta(microseconds=1)
ALWAYS = -(1 << 63)  # the event of a row of a table without time stamps, as in pointintime
# Why a value is what it is: the numbers of FeatureStatus, plain because an enum's members cost too much here.
PRESENT, NULL, NOT_FOUND, EXPIRED, DEFAULTED = 1, 2, 3, 4, 5
_FLOATS = (Kind.FLOAT, Kind.DOUBLE)


@dataclass(frozen=True, slots=True)
class Block:
    """All values of one kind. `columns`: which features; `data` and `offsets` as FeatureBlock has them."""

    kind: Kind
    columns: tuple[int, ...]
    data: bytes
    offsets: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Blocks, and per value (feature after feature, row by row) its status; event_times as int64 microseconds."""

    blocks: list[Block]
    statuses: npt.NDArray[np.uint8]
    event_times: npt.NDArray[np.int64]

    @property
    def complete(self) -> bool:
        """Whether every value is PRESENT."""
        return bool((self.statuses == PRESENT).all())


@dataclass(frozen=True, slots=True)
class _Gathering:
    """How the features of one lookup come out of rows of one layout.

    absent   features (by place in the answer) that were added after such rows were packed
    present  the others, and nulls: the column of each
    numbers  per kind: the features' lines in its block, and the bytes of a packed row that hold them, value after value
    texts    per text: its kind, its line in the block, its column
    """

    layout: Layout
    absent: list[int]
    present: list[int]
    nulls: list[int]
    numbers: list[tuple[Kind, list[int], npt.NDArray[np.intp]]]
    texts: list[tuple[Kind, int, int]]


@dataclass(slots=True)
class _Draft:
    """An answer in the making."""

    statuses: npt.NDArray[np.uint8]
    events: npt.NDArray[np.int64]
    numbers: dict[Kind, npt.NDArray[Any]]
    texts: dict[Kind, list[list[bytes]]]


class Answerer:
    """Makes the answers of one spec; made once, used by many threads.

    schemas  per lookup the schema of its table
    """

    def __init__(self, plan: Plan, schemas: Sequence[Schema]) -> None:
        self.plan = plan
        names = [[column.name for column in schema.values] for schema in schemas]
        self._sources = [
            [names[index].index(feature.source) for feature in lookup.features]
            for index, lookup in enumerate(plan.lookups)
        ]
        self._kinds = [tuple(column.kind for column in schema.values) for schema in schemas]
        self._places: dict[Kind, list[int]] = {}
        self._lines: list[int] = []  # of each feature, in the block of its kind
        for place, feature in enumerate(plan.features):
            places = self._places.setdefault(feature.kind, [])
            self._lines.append(len(places))
            places.append(place)
        self._gatherings: dict[tuple[int, int], _Gathering] = {}

    def knows(self, lookup: int, rows: Sequence[bytes | None]) -> bool:
        """Says whether all rows have a layout that the schema explains; after a column was added, one may have more."""
        most = len(self._kinds[lookup])
        return all(columns_in(row) <= most for row in rows if row is not None)

    def answer(self, found: Sequence[Sequence[bytes | None]], rows: int, moment: int) -> Answer:
        """Returns the answer.

        found   per lookup and request row the packed row of its key, None where there is none
        rows    how many rows were asked for
        moment  microseconds; ages are measured against it
        """
        count = len(self.plan.features)
        draft = _Draft(
            np.full((count, rows), NOT_FOUND, dtype=np.uint8),
            np.zeros((count, rows), dtype=np.int64),
            {
                kind: np.full((len(places), rows), np.nan if kind in _FLOATS else 0, dtype=DTYPES[kind])
                for kind, places in self._places.items()
                if kind not in TEXTS
            },
            {kind: [[b""] * rows for _ in places] for kind, places in self._places.items() if kind in TEXTS},
        )
        first = 0
        for index, lookup in enumerate(self.plan.lookups):
            last = first + len(lookup.features)
            usable = _usable(
                found[index], lookup.look_back, moment, draft.statuses[first:last], draft.events[first:last]
            )
            for width, where, packed in usable:
                _fill(draft, self._gathering(index, width, first), where, packed)
            self._default(lookup, first, draft)
            first = last
        blocks = [_block(kind, tuple(places), draft) for kind, places in self._places.items()]
        return Answer(blocks, draft.statuses, draft.events)

    def _gathering(self, index: int, width: int, first: int) -> _Gathering:
        found = self._gatherings.get((index, width))
        if found is None:
            found = self._gatherings[index, width] = self._gather(index, width, first)
        return found

    def _gather(self, index: int, width: int, first: int) -> _Gathering:
        layout = layout_of(self._kinds[index][:width])
        made = _Gathering(layout, [], [], [], [], [])
        lines: dict[Kind, tuple[list[int], list[int]]] = {}
        for offset, feature in enumerate(self.plan.lookups[index].features):
            place, column = first + offset, self._sources[index][offset]
            if column >= width:
                made.absent.append(place)
                continue
            made.present.append(place)
            made.nulls.append(column)
            if feature.kind in TEXTS:
                made.texts.append((feature.kind, self._lines[place], column))
            else:
                targets, places = lines.setdefault(feature.kind, ([], []))
                targets.append(self._lines[place])
                places.extend(range(layout.at[column], layout.at[column] + DTYPES[feature.kind].itemsize))
        made.numbers.extend((kind, targets, np.array(places, np.intp)) for kind, (targets, places) in lines.items())
        return made

    def _default(self, lookup: Resolved, first: int, draft: _Draft) -> None:
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


def _fill(draft: _Draft, gathering: _Gathering, where: npt.NDArray[np.intp] | slice, packed: Sequence[bytes]) -> None:
    """Puts packed rows of one layout into their places."""
    unpacked = gathering.layout.unpack(packed)
    if gathering.present:
        # A byte is 0 where there is a value, 1 where it is null: PRESENT and NULL follow each other in that order.
        _put(draft.statuses, gathering.present, where, unpacked.nulls(gathering.nulls).T + np.uint8(PRESENT))
    for place in gathering.absent:
        draft.statuses[place, where] = NULL
    for kind, lines, places in gathering.numbers:
        _put(draft.numbers[kind], lines, where, unpacked.numbers(places, DTYPES[kind]).T)
    for kind, line, column in gathering.texts:
        target = draft.texts[kind][line]
        rows = range(len(target)) if isinstance(where, slice) else where.tolist()
        for row, text in zip(rows, unpacked.texts(column), strict=True):
            target[row] = text


def _put(
    target: npt.NDArray[Any], lines: list[int], where: npt.NDArray[np.intp] | slice, values: npt.NDArray[Any]
) -> None:
    """Sets some lines of a matrix, at some rows."""
    if isinstance(where, slice):
        target[lines] = values
    else:
        target[np.array(lines)[:, None], where] = values


def _usable(
    rows: Sequence[bytes | None],
    look_back: timedelta | None,
    moment: int,
    statuses: npt.NDArray[np.uint8],
    events: npt.NDArray[np.int64],
) -> list[tuple[int, npt.NDArray[np.intp] | slice, list[bytes]]]:
    """Returns the rows that count, by how many columns they have: (columns, places in the request, packed rows).

    Notes EXPIRED in `statuses` and the event times in `events`, for all features of the lookup.
    """
    oldest = None if look_back is None else moment - look_back // _MICROSECOND
    groups: dict[int, tuple[list[int], list[bytes]]] = {}
    for place, row in enumerate(rows):
        if row is None:
            continue
        event, knowledge = times_of(row)
        if event > moment or knowledge > moment:
            continue
        if event != ALWAYS:
            events[:, place] = event
        if oldest is not None and event < oldest:
            statuses[:, place] = EXPIRED
            continue
        width = columns_in(row)
        group = groups.get(width)
        if group is None:
            group = groups[width] = ([], [])
        group[0].append(place)
        group[1].append(row)
    return [
        (width, slice(None) if len(places) == len(rows) else np.array(places, dtype=np.intp), packed)
        for width, (places, packed) in groups.items()
    ]


def _block(kind: Kind, places: tuple[int, ...], draft: _Draft) -> Block:
    if kind not in TEXTS:
        return Block(kind, places, draft.numbers[kind].tobytes(), b"")
    values = [text for line in draft.texts[kind] for text in line]
    ends = np.cumsum(np.fromiter(map(len, values), dtype=np.uint32, count=len(values)), dtype="<u4")
    return Block(kind, places, b"".join(values), ends.tobytes())
