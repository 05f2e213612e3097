"""The answer to GetOnlineFeatures: packed rows of several tables into one block of values per kind. NumPy, no Arrow.

What counts as there is decided exactly as `pointintime.as_of` does: a row that is not true or not known yet at the
moment is not there, one older than the look-back has expired. Nothing here runs once per value, except for texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from fivefold_features.lookups import Plan, Resolved
from fivefold_features.packing import DTYPES, TEXTS, Unpacked, columns_in, layout_of, times_of
from fivefold_features.schema import Kind, Schema

_MICROSECOND = timedelta(microseconds=1)
ALWAYS = -(1 << 63)  # the event of a row of a table without time stamps, as in pointintime


class Status(IntEnum):
    """Why a value is what it is; numbered as FeatureStatus."""

    PRESENT = 1
    NULL = 2
    NOT_FOUND = 3
    EXPIRED = 4
    DEFAULTED = 5


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
        return bool((self.statuses == Status.PRESENT).all())


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a feature goes: its place in the answer, and in the block of its kind."""

    place: int
    in_block: int


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
        places: dict[Kind, list[int]] = defaultdict(list)
        self._targets: list[_Target] = []
        for place, feature in enumerate(plan.features):
            self._targets.append(_Target(place, len(places[feature.kind])))
            places[feature.kind].append(place)
        self._places = {kind: tuple(found) for kind, found in places.items()}

    def knows(self, lookup: int, rows: Sequence[bytes | None]) -> bool:
        """Says whether all rows have a layout that the schema explains; after a column was added, one may have more."""
        most = len(self._kinds[lookup])
        return all(row is None or columns_in(row) <= most for row in rows)

    def answer(self, found: Sequence[Sequence[bytes | None]], rows: int, moment: int) -> Answer:
        """Returns the answer.

        found   per lookup and request row the packed row of its key, None where there is none
        rows    how many rows were asked for
        moment  microseconds; ages are measured against it
        """
        count = len(self.plan.features)
        statuses = np.full((count, rows), Status.NOT_FOUND, dtype=np.uint8)
        events = np.zeros((count, rows), dtype=np.int64)
        numbers = {
            kind: np.full((len(places), rows), np.nan if kind in (Kind.FLOAT, Kind.DOUBLE) else 0, dtype=DTYPES[kind])
            for kind, places in self._places.items()
            if kind not in TEXTS
        }
        texts = {kind: [[b""] * rows for _ in places] for kind, places in self._places.items() if kind in TEXTS}
        first = 0
        for index, lookup in enumerate(self.plan.lookups):
            last = first + len(lookup.features)
            for group in _usable(found[index], lookup.look_back, moment, statuses[first:last], events[first:last]):
                self._fill(index, lookup, group, first, statuses, numbers, texts)
            self._default(lookup, first, statuses, numbers, texts)
            first = last
        return Answer([_block(kind, places, numbers, texts) for kind, places in self._places.items()], statuses, events)

    def _fill(
        self,
        index: int,
        lookup: Resolved,
        group: tuple[int, npt.NDArray[np.intp] | slice, list[bytes]],
        first: int,
        statuses: npt.NDArray[np.uint8],
        numbers: dict[Kind, np.ndarray],
        texts: dict[Kind, list[list[bytes]]],
    ) -> None:
        width, where, packed = group
        unpacked: Unpacked = layout_of(self._kinds[index][:width]).unpack(packed)
        for offset, feature in enumerate(lookup.features):
            column, target = self._sources[index][offset], self._targets[first + offset]
            if column >= width:  # packed before this column was added
                statuses[target.place, where] = Status.NULL
                continue
            # 0 is present, 1 is null: the statuses follow each other in that order.
            statuses[target.place, where] = unpacked.nulls(column) + Status.PRESENT
            if feature.kind in TEXTS:
                line = texts[feature.kind][target.in_block]
                places = range(len(line)) if isinstance(where, slice) else where.tolist()
                for place, text in zip(places, unpacked.texts(column), strict=True):
                    line[place] = text
            else:
                numbers[feature.kind][target.in_block, where] = unpacked.numbers(column)

    def _default(
        self,
        lookup: Resolved,
        first: int,
        statuses: npt.NDArray[np.uint8],
        numbers: dict[Kind, np.ndarray],
        texts: dict[Kind, list[list[bytes]]],
    ) -> None:
        for offset, feature in enumerate(lookup.features):
            if feature.default is None:
                continue
            target = self._targets[first + offset]
            missing = statuses[target.place] != Status.PRESENT
            if not missing.any():
                continue
            statuses[target.place, missing] = Status.DEFAULTED
            if feature.kind in TEXTS:
                default = feature.default.encode() if isinstance(feature.default, str) else feature.default
                for place in np.flatnonzero(missing).tolist():
                    texts[feature.kind][target.in_block][place] = default  # type: ignore[assignment]
            else:
                numbers[feature.kind][target.in_block, missing] = feature.default


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
            statuses[:, place] = Status.EXPIRED
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


def _block(
    kind: Kind,
    places: tuple[int, ...],
    numbers: dict[Kind, np.ndarray],
    texts: dict[Kind, list[list[bytes]]],
) -> Block:
    if kind not in TEXTS:
        return Block(kind, places, numbers[kind].tobytes(), b"")
    values = [text for line in texts[kind] for text in line]
    ends = np.cumsum(np.fromiter(map(len, values), dtype=np.uint32, count=len(values)), dtype="<u4")
    return Block(kind, places, b"".join(values), ends.tobytes())
