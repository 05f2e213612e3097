"""Which Arrow type each Kind is, and how data that comes in near it is brought to it.

One Kind has one Arrow type inside this service and on its way out. On the way in narrower numbers, other time units,
dictionaries and large or view layouts of text are taken too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fivefold_features.arrowstream import MAX_BATCH
from fivefold_features.errors import ArrowInvalid, SchemaMismatch, TimestampInvalid
from fivefold_features.schema import Column, Kind, check_names

ARROW = {
    Kind.BOOL: pa.bool_(),
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.FLOAT: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.BYTES: pa.binary(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.DATE: pa.date32(),
}
_INT32 = {pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()}
_INT64 = {pa.int64(), pa.uint32()}
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds: the years 1 to 9999


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Returns the Arrow schema of columns, all nullable."""
    return pa.schema([(column.name, ARROW[column.kind]) for column in columns])


def kind_of(owner: str, field: pa.Field) -> Kind | None:
    """Returns the Kind of a column that comes in; None for Arrow's null type, which fits any.

    Raises TimestampInvalid for a time stamp without a zone, SchemaMismatch for a type that is none of ours.
    """
    found = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_null(found):
        return None
    if pa.types.is_timestamp(found) and found.tz is None:
        raise TimestampInvalid(
            f"{owner}: time stamps of column {field.name!r} have no time zone; send them with one, such as UTC",
            table=owner,
            column=field.name,
        )
    for kind, fits in _FITS.items():
        if fits(found):
            return kind
    raise SchemaMismatch(
        f"{owner}: column {field.name!r} has the Arrow type {str(found)[:64]}, which is none of {', '.join(Kind)}",
        table=owner,
        column=field.name,
        actual=str(found),
    )


def columns_of(owner: str, schema: pa.Schema) -> tuple[Column, ...]:
    """Returns the columns of a frame that comes in; a column of nulls alone counts as STRING."""
    check_names(owner, schema.names)
    return tuple(Column(field.name, kind_of(owner, field) or Kind.STRING) for field in schema)


def conform(owner: str, name: str, array: pa.Array, kind: Kind, first_row: int = 0) -> pa.Array:
    """Returns the array as ARROW[kind]. Its own kind must be one that `kind` takes.

    Time stamps are cut to whole microseconds. Raises TimestampInvalid for one outside the years 1 to 9999.
    """
    if _spread(array) > MAX_BATCH:
        raise ArrowInvalid(
            f"{owner}: column {name!r} spells out to more than {MAX_BATCH} bytes; send smaller batches",
            table=owner,
            column=name,
        )
    if pa.types.is_dictionary(array.type):
        values = array.dictionary
        array = (values.cast(ARROW[kind]) if _is_view(values.type) else values).take(array.indices)
    wanted = ARROW[kind]
    if kind is Kind.TIMESTAMP:
        return _moments(owner, name, array, first_row)
    try:
        return array if array.type == wanted else array.cast(wanted)
    except pa.ArrowInvalid:
        raise ArrowInvalid(
            f"{owner}: column {name!r} holds more than one message can", table=owner, column=name
        ) from None


def _spread(array: pa.Array) -> int:
    """Returns how many bytes of text an array refers to: dictionaries and views may name the same ones many times."""
    if pa.types.is_dictionary(array.type):
        values = array.dictionary
        if not _is_text(values.type) or not len(values):
            return 0
        if _is_view(values.type):
            lengths = list(_lengths(values))
            return max(sum(lengths), max(lengths) * len(array))
        return pc.sum(pc.binary_length(values).cast(pa.int64()).take(array.indices)).as_py() or 0
    return sum(_lengths(array)) if _is_view(array.type) else 0


def _lengths(views: pa.Array) -> Sequence[int]:
    """The lengths in an array of views: the first of the four int32 of each."""
    numbers = memoryview(views.buffers()[1]).cast("B").cast("i")
    return numbers[4 * views.offset : 4 * (views.offset + len(views)) : 4]


def _is_view(found: pa.DataType) -> bool:
    return pa.types.is_string_view(found) or pa.types.is_binary_view(found)


def _is_text(found: pa.DataType) -> bool:
    return any(fits(found) for fits in (_FITS[Kind.STRING], _FITS[Kind.BYTES]))


def _moments(owner: str, name: str, array: pa.Array, first_row: int) -> pa.Array:
    try:
        micros = (
            array.cast(pa.timestamp("us", tz="UTC"), safe=False)
            if _finer(array.type)
            else array.cast(ARROW[Kind.TIMESTAMP])
        )
    except pa.ArrowInvalid:
        raise _out_of_range(owner, name, None) from None
    numbers = micros.view(pa.int64()) if micros.type != pa.int64() else micros
    low, high = pc.min_max(numbers).values()
    if low.is_valid and (low.as_py() < _FIRST or high.as_py() > _LAST):
        outside = pc.or_(pc.less(numbers, _FIRST), pc.greater(numbers, _LAST))
        raise _out_of_range(owner, name, first_row + pc.index(outside, True).as_py())
    return micros


def _finer(found: pa.DataType) -> bool:
    return pa.types.is_timestamp(found) and found.unit == "ns"


def _out_of_range(owner: str, name: str, row: int | None) -> TimestampInvalid:
    where = "" if row is None else f", row {row}"
    return TimestampInvalid(
        f"{owner}: column {name!r}{where}: the time stamp is outside the years 1 to 9999",
        table=owner,
        column=name,
        row=row,
    )


_FITS = {
    Kind.BOOL: pa.types.is_boolean,
    Kind.INT32: _INT32.__contains__,
    Kind.INT64: _INT64.__contains__,
    Kind.FLOAT: lambda t: pa.types.is_float16(t) or pa.types.is_float32(t),
    Kind.DOUBLE: pa.types.is_float64,
    Kind.STRING: lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
    Kind.BYTES: lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_binary_view(t),
    Kind.TIMESTAMP: pa.types.is_timestamp,
    Kind.DATE: pa.types.is_date,
}
