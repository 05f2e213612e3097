"""Arrow in pieces, digests, packed rows and keys: what goes in comes out, and equal values are equal bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold_features import arrowstream
from fivefold_features.arrowtypes import ARROW, arrow_schema, columns_of, conform
from fivefold_features.digest import digest_of
from fivefold_features.errors import ArrowInvalid
from fivefold_features.packing import TEXTS, Heads, Ranks, layout_of, pack_keys, places, times_of
from fivefold_features.schema import Column, Kind

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BOOL: st.booleans(),
    Kind.INT32: st.integers(-(2**31), 2**31 - 1),
    Kind.INT64: INT64,
    Kind.FLOAT: st.floats(width=32, allow_nan=False),
    Kind.DOUBLE: st.floats(allow_nan=False),
    Kind.STRING: st.text(st.characters(codec="utf-8"), max_size=8),
    Kind.BYTES: st.binary(max_size=8),
    Kind.TIMESTAMP: st.integers(-(10**15), 10**15),
    Kind.DATE: st.integers(-(10**5), 10**5),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    kinds = draw(st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=5))
    rows = draw(st.integers(0, 12))
    arrays = [
        pa.array(draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows)), ARROW[kind]) for kind in kinds
    ]
    return pa.table(arrays, schema=arrow_schema([Column(f"c{n}", kind) for n, kind in enumerate(kinds)]))


def stream(table: pa.Table, rows: int) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


@settings(max_examples=100, deadline=None)
@given(tables(), st.integers(1, 5), st.integers(1, 200))
def test_a_stream_in_any_pieces_gives_the_same_rows(table: pa.Table, rows: int, size: int) -> None:
    data = stream(table, rows)
    schema, batches = arrowstream.read(data[start : start + size] for start in range(0, len(data), size))
    assert pa.Table.from_batches(batches, schema).equals(table)


@settings(max_examples=50, deadline=None)
@given(tables(), st.integers(1, 5))
def test_a_stream_that_goes_out_is_a_stream_that_comes_in(table: pa.Table, rows: int) -> None:
    sent = arrowstream.write(table.schema, table.to_batches(max_chunksize=rows))
    schema, batches = arrowstream.read(sent)
    assert pa.Table.from_batches(batches, schema).equals(table)


def test_pieces_that_go_out_are_bounded() -> None:
    table = pa.table({"x": np.arange(1_000_000)})
    sent = list(arrowstream.write(table.schema, table.to_batches()))
    assert len(sent) == 8 and max(map(len, sent)) == arrowstream.PIECE


@settings(max_examples=300, deadline=None)
@given(tables(), st.data())
def test_damaged_bytes_are_refused_or_read_but_never_worse(table: pa.Table, data: st.DataObject) -> None:
    damaged = bytearray(stream(table, 4))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        schema, batches = arrowstream.read([bytes(damaged)])
        read = pa.Table.from_batches(list(batches), schema)
    except ArrowInvalid:
        return
    for column in read.columns:
        if not pa.types.is_float16(column.type):  # which Arrow finds no unique values of
            pc.drop_null(column).unique()  # reads every value


@settings(max_examples=100, deadline=None)
@given(tables(), st.integers(1, 4))
def test_a_digest_depends_on_values_and_not_on_batches(table: pa.Table, rows: int) -> None:
    columns = columns_of("test", table.schema)
    cut = pa.Table.from_batches(table.to_batches(max_chunksize=rows), table.schema)
    assert digest_of(table, columns) == digest_of(cut, columns) == digest_of(table.combine_chunks(), columns)


def test_a_digest_tells_nulls_from_zeros_and_one_cut_of_texts_from_another() -> None:
    def digest(kind: Kind, values: list[Any], name: str = "c") -> str:
        columns = [Column(name, kind)]
        return digest_of(pa.table([pa.array(values, ARROW[kind])], schema=arrow_schema(columns)), columns)

    different = [
        digest(Kind.INT64, [0]),
        digest(Kind.INT64, [None]),
        digest(Kind.INT64, []),
        digest(Kind.INT64, [0], "d"),
        digest(Kind.INT32, [0]),
        digest(Kind.STRING, [""]),
        digest(Kind.STRING, [None]),
        digest(Kind.STRING, ["ab", "c"]),
        digest(Kind.STRING, ["a", "bc"]),
        digest(Kind.BYTES, [b"a", b"bc"]),
    ]
    assert len(set(different)) == len(different)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=6), st.integers(1, 5), st.data())
def test_packed_rows_give_back_their_values_nulls_and_times(kinds: list[Kind], count: int, data: st.DataObject) -> None:
    layout = layout_of(tuple(kinds))
    texts = st.binary(max_size=6)
    values: list[Any] = []
    for kind in kinds:
        of = texts if kind in TEXTS else VALUES[kind]
        values.append(data.draw(st.lists(of, min_size=count, max_size=count)))
    nulls = [data.draw(st.lists(st.booleans(), min_size=count, max_size=count)) for _ in kinds]
    times = [data.draw(st.lists(INT64, min_size=count, max_size=count)) for _ in range(3)]
    arrays = [value if kind in TEXTS else np.array(value) for kind, value in zip(kinds, values, strict=True)]
    ranks = Ranks(*(np.array(one, dtype=np.int64) for one in times))
    rows = list(layout.pack(ranks, arrays, [np.array(one) for one in nulls]))
    heads, (events, _, knowledge) = Heads(rows), times
    assert heads.columns.tolist() == [len(kinds)] * count
    assert heads.events().tolist() == events
    for moment in (*events, *knowledge):
        assert heads.before(moment).tolist() == [event < moment for event in events]
        assert heads.up_to(moment).tolist() == [max(pair) <= moment for pair in zip(events, knowledge, strict=True)]
    assert [times_of(row) for row in rows] == list(zip(times[0], times[2], strict=True))
    unpacked = layout.unpack(rows)
    for column, kind in enumerate(kinds):
        assert unpacked.nulls(places([column]))[:, 0].tolist() == nulls[column]
        if kind in TEXTS:
            assert unpacked.texts(column) == values[column]
        else:
            assert unpacked.numbers(kind, places([layout.order[column]]))[0].tolist() == values[column]
    by_bytes = sorted(range(count), key=lambda n: rows[n][:24])
    assert [tuple(one[n] for one in times) for n in by_bytes] == sorted(zip(*times, strict=True))


@settings(max_examples=200)
@given(st.data(), st.lists(st.sampled_from([Kind.BOOL, Kind.INT64, Kind.STRING]), min_size=1, max_size=3))
def test_different_keys_have_different_bytes(data: st.DataObject, kinds: list[Kind]) -> None:
    keys = data.draw(st.lists(st.tuples(*(VALUES[kind] for kind in kinds)), min_size=1, max_size=8, unique=True))
    packed = pack_keys(kinds, [list(column) for column in zip(*keys, strict=True)])
    assert len(set(packed)) == len(keys) and b"" not in packed


def test_a_key_with_a_null_is_none() -> None:
    assert pack_keys([Kind.STRING, Kind.INT64], [["a", None], [None, 1]]) == [None, None]
    assert pack_keys([Kind.INT64], [[None]]) == [None]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in TEXTS])
def test_every_kind_has_a_place_in_a_packed_row(kind: Kind) -> None:
    assert layout_of((kind,)).size > layout_of(()).size


@pytest.mark.parametrize("layout", ["dictionary", "view", "dictionary of views"])
def test_a_text_that_is_named_a_million_times_is_refused_before_it_is_spelt_out(layout: str) -> None:
    text = pa.array(["x" * 1_000_000], pa.string() if layout == "dictionary" else pa.string_view())
    indices = pa.array(np.zeros(1_000_000), pa.int8())
    array = pa.DictionaryArray.from_arrays(indices, text)
    if layout == "view":
        _, views, texts = text.buffers()
        array = pa.Array.from_buffers(text.type, 1000, [None, pa.py_buffer(bytes(views)[:16] * 1000), texts])
    with pytest.raises(ArrowInvalid, match="spells out"):
        conform("tables/x", "s", array, Kind.STRING)


@pytest.mark.parametrize("of", [pa.string(), pa.large_string(), pa.string_view()])
def test_dictionaries_and_views_are_spelt_out(of: pa.DataType) -> None:
    texts = ["a", None, "b" * 20, "a"]
    plain = pa.array(texts, of)
    encoded = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0], pa.int8()), pa.array(["a", "b" * 20], of))
    for array in (plain, encoded, plain.slice(1), encoded.slice(1), plain.slice(0, 0), encoded.slice(0, 0)):
        found = conform("tables/x", "s", array, Kind.STRING)
        assert found.type == pa.string() and found.to_pylist() == array.to_pylist()
