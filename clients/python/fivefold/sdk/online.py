"""Features by key, decoded from the packed blocks of GetOnlineFeatures without a copy of the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.extras import need
from fivefold.sdk.records import enum_names

_LAYOUT = {
    data_pb2.DATA_TYPE_BOOL: "?",
    data_pb2.DATA_TYPE_INT32: "<i4",
    data_pb2.DATA_TYPE_INT64: "<i8",
    data_pb2.DATA_TYPE_FLOAT: "<f4",
    data_pb2.DATA_TYPE_DOUBLE: "<f8",
    data_pb2.DATA_TYPE_TIMESTAMP: "<M8[us]",
    data_pb2.DATA_TYPE_DATE: "<i4",
}
_VALUED = (pb.FEATURE_STATUS_PRESENT, pb.FEATURE_STATUS_DEFAULTED)


class OnlineFeatures:
    """The features of some keys.

    features  names, in the order of the spec
    rows      number of rows, as many as keys
    """

    def __init__(self, answer: pb.GetOnlineFeaturesResponse) -> None:
        self._answer = answer
        self.features = tuple(answer.features)
        self.rows = answer.rows

    @cached_property
    def columns(self) -> dict[str, Any]:
        """A numpy array for each feature; TIMESTAMP as datetime64[us] in UTC, DATE as datetime64[D], text as objects.

        Where there is no value: zero, NaN or "" (see `present`).
        """
        numpy = need("numpy", "reading features")
        blocks = self._answer.blocks
        if len(blocks) == 1:  # Its features are all features, in order.
            return dict(zip(self.features, self._decoded(blocks[0], numpy), strict=True))
        found: list[Any] = [None] * len(self.features)
        for block in blocks:
            for place, values in zip(block.columns, self._decoded(block, numpy), strict=True):
                found[place] = values
        return dict(zip(self.features, found, strict=True))

    @cached_property
    def present(self) -> dict[str, Any]:
        """A boolean numpy array for each feature: where there is a value (stored, or the spec's default)."""
        numpy = need("numpy", "reading features")
        if not self._answer.statuses:
            return {name: numpy.ones(self.rows, dtype=bool) for name in self.features}
        return {name: numpy.isin(codes, _VALUED) for name, codes in self._codes(numpy)}

    @cached_property
    def event_times(self) -> dict[str, Any]:
        """For each feature the event times of its rows as datetime64[us] in UTC, NaT where there is none.

        Raises InvalidArgument when they were not asked for.
        """
        numpy = need("numpy", "reading features")
        if not self._answer.event_times and self.rows:
            raise InvalidArgument("ask for them: get(..., with_event_times=True)", reason="FIELD_REQUIRED")
        times = numpy.frombuffer(self._answer.event_times, dtype="<M8[us]").reshape(len(self.features), self.rows)
        nothing = numpy.datetime64("NaT", "us")
        return {
            name: numpy.where(line.view("<i8") == 0, nothing, line)
            for name, line in zip(self.features, times, strict=True)
        }

    @cached_property
    def statuses(self) -> dict[str, list[str]]:
        """For each feature a list of PRESENT, NULL, NOT_FOUND, EXPIRED or DEFAULTED, row by row."""
        if not self._answer.statuses:
            return {name: ["PRESENT"] * self.rows for name in self.features}
        names = enum_names(pb.FeatureStatus.DESCRIPTOR)
        return {name: [names[code] for code in codes] for name, codes in self._codes(need("numpy", "reading features"))}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns one dict for each row, with None where there is no value."""
        listed = {
            name: [
                (value.replace(tzinfo=UTC) if isinstance(value, datetime) else value) if there else None
                for value, there in zip(values.tolist(), self.present[name].tolist(), strict=True)
            ]
            for name, values in self.columns.items()
        }
        return [{name: values[row] for name, values in listed.items()} for row in range(self.rows)]

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame; where there is no value NA, NaT or NaN."""
        pandas = need("pandas", "to_pandas()")
        return pandas.DataFrame({name: self._series(name, pandas) for name in self.features})

    def __repr__(self) -> str:
        missing = sum(int((~there).sum()) for there in self.present.values())
        return f"OnlineFeatures({self.rows} rows, {len(self.features)} features, {missing} values missing)"

    def _codes(self, numpy: Any) -> Iterator[tuple[str, Any]]:
        codes = numpy.frombuffer(self._answer.statuses, dtype="u1").reshape(len(self.features), self.rows)
        return zip(self.features, codes, strict=True)

    def _decoded(self, block: pb.FeatureBlock, numpy: Any) -> Any:
        """Yields the values of each column of a block."""
        if block.type not in _LAYOUT:
            return self._texts(block, numpy)
        values = numpy.frombuffer(block.data, dtype=_LAYOUT[block.type]).reshape(len(block.columns), self.rows)
        return values.astype("M8[D]") if block.type == data_pb2.DATA_TYPE_DATE else values

    def _texts(self, block: pb.FeatureBlock, numpy: Any) -> Any:
        ends = numpy.frombuffer(block.offsets, dtype="<u4").tolist()
        values = numpy.empty(len(ends), dtype=object)
        for place, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            piece = block.data[start:end]
            values[place] = piece.decode() if block.type == data_pb2.DATA_TYPE_STRING else piece
        return values.reshape(len(block.columns), self.rows)

    def _series(self, name: str, pandas: Any) -> Any:
        values, there = self.columns[name], self.present[name]
        kind = values.dtype.kind
        if kind == "M":
            series = pandas.Series(values.astype("M8[us]"))
            series = series.dt.tz_localize("UTC") if values.dtype == "M8[us]" else series
        elif kind in "bi" and not there.all():
            series = pandas.Series(values).astype({"b": "boolean", "i": "Int64"}[kind])
        else:
            series = pandas.Series(values)
        return series if there.all() else series.where(there)
