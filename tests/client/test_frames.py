"""Frames to Arrow IPC in pieces and back, from all libraries, without a second copy."""

from __future__ import annotations

import io
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.frames import PIECE, batches_of, file_of, pieces, schema_of

MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)
COLUMNS: dict[str, list[Any]] = {"key": ["a", "b", None], "n": [1, 2, 3], "x": [0.5, None, 2.5], "at": [MOMENT] * 3}


def sent(frame: Any) -> pa.Table:
    return pa.ipc.open_stream(io.BytesIO(b"".join(pieces(frame)))).read_all()


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table, lambda columns: columns])
def test_frames_of_all_libraries_are_sent_as_the_same_table(library: Any) -> None:
    table = sent(library(COLUMNS))
    assert table.to_pydict() == COLUMNS
    assert [str(kind) for kind in table.schema.types] == ["string", "int64", "double", "timestamp[us, tz=UTC]"]


def test_a_large_frame_goes_in_pieces_of_at_most_a_mebibyte_and_comes_back_whole() -> None:
    frame = pd.DataFrame({"n": np.arange(400_000), "text": ["some text"] * 400_000})
    messages = list(pieces(frame))
    assert len(messages) > 5
    assert max(map(len, messages)) <= PIECE
    pd.testing.assert_frame_equal(batches_of(iter(messages)).read_pandas(), frame)


def test_sending_a_frame_holds_no_second_copy_of_it() -> None:
    frame = pd.DataFrame({f"c{column}": np.random.default_rng(column).random(500_000) for column in range(10)})
    size = int(frame.memory_usage().sum())
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    arrow = max(pa.total_allocated_bytes() - before + 0 * len(piece) for piece in pieces(frame))
    _, python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(arrow, python) < size / 2


def test_types_are_widened_to_those_of_feature_tables() -> None:
    frame = pd.DataFrame(
        {
            "small": np.array([1, 2], dtype=np.int8),
            "unsigned": np.array([1, 2], dtype=np.uint32),
            "half": np.array([1.5, 2], dtype=np.float32),
            "kind": pd.Series(["a", "b"], dtype="category"),
            "at": pd.to_datetime(["2026-01-01T00:00:00.123456789Z"] * 2, format="ISO8601"),
        }
    )
    kinds = [str(kind) for kind in schema_of(frame).types]
    assert kinds == ["int32", "int64", "float", "string", "timestamp[us, tz=UTC]"]
    assert sent(frame)["at"][0].as_py().microsecond == 123456


def test_slices_of_several_batches_keep_their_order() -> None:
    table = pa.concat_tables([pa.table({"n": [1, 2]}), pa.table({"n": [3]}), pa.table({"n": pa.array([], pa.int64())})])
    assert sent(table)["n"].to_pylist() == [1, 2, 3]
    assert sent(table.to_reader())["n"].to_pylist() == [1, 2, 3]


def test_a_frame_without_rows_keeps_its_schema() -> None:
    assert sent(pd.DataFrame({"n": pd.Series([], dtype="int64")})).schema.names == ["n"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"at": [datetime(2026, 1, 1)]}), "'at' holds times without a time zone"),
        (pd.DataFrame({0: [1]}), "column 0 has no name"),
        (pd.DataFrame({"mixed": [1, "x"]}), "several types"),
        (pa.table({"big": pa.array([2**63], pa.uint64())}), "'big' holds a value that does not fit int64"),
        (pa.table({"list": [[1]]}), "'list' is of type list"),
        ([1, 2], "got list"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_column(frame: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        list(pieces(frame))


def test_parquet_and_csv_files_are_read_a_part_at_a_time(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(200_000))})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert sent(file_of(tmp_path / "rows.parquet")) == table
    (tmp_path / "rows.csv").write_text("n,name\n1,a\n2,b\n")
    assert sent(file_of(tmp_path / "rows.csv")).to_pydict() == {"n": [1, 2], "name": ["a", "b"]}


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.xlsx").write_bytes(b"")
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    with pytest.raises(InvalidArgument, match=r"neither \.parquet nor \.csv"):
        file_of(tmp_path / "rows.xlsx")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        file_of(tmp_path / "broken.parquet")
