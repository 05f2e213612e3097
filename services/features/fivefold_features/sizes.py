"""About how many bytes rows take in memory, to choose between one step and several. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fivefold_features.schema import Column, Kind
from fivefold_features.store import Snapshot

_WIDTHS = {Kind.BOOL: 1, Kind.INT32: 4, Kind.FLOAT: 4, Kind.DATE: 4, Kind.STRING: 32, Kind.BYTES: 64}
_MOST_WIDTH = 8
_ORDERING = 40  # bytes a row for its place, its times and its rank, while rows are put in order


def row_bytes(columns: Iterable[Column]) -> int:
    """Returns about what one row takes while rows are put in order: it stands twice, before and after."""
    return _ORDERING + 2 * sum(_WIDTHS.get(column.kind, _MOST_WIDTH) for column in columns)


def bytes_of(snapshot: Snapshot, columns: Iterable[Column]) -> int:
    """Returns about what these columns of all rows of a snapshot's files take."""
    return sum(part.rows for part in snapshot.parts) * row_bytes(columns)
