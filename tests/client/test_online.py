"""Packed blocks of GetOnlineFeatures, decoded."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from fivefold.data.v1 import data_pb2
from fivefold.features.v1 import features_pb2 as pb
from fivefold.sdk.online import OnlineFeatures

MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROSECONDS = int(MOMENT.timestamp() * 1e6)


def answer() -> pb.GetOnlineFeaturesResponse:
    """Two rows; in the second, n has no row, text is null and x is too old."""
    block = pb.FeatureBlock
    return pb.GetOnlineFeaturesResponse(
        features=["x", "n", "text", "y", "flag", "at", "day"],
        rows=2,
        blocks=[
            block(type=data_pb2.DATA_TYPE_DOUBLE, columns=[0, 3], data=struct.pack("<4d", 0.5, float("nan"), 7, 8)),
            block(type=data_pb2.DATA_TYPE_INT64, columns=[1], data=struct.pack("<2q", 42, 0)),
            block(type=data_pb2.DATA_TYPE_STRING, columns=[2], data="né".encode(), offsets=struct.pack("<2I", 3, 3)),
            block(type=data_pb2.DATA_TYPE_BOOL, columns=[4], data=b"\x01\x00"),
            block(type=data_pb2.DATA_TYPE_TIMESTAMP, columns=[5], data=struct.pack("<2q", MICROSECONDS, MICROSECONDS)),
            block(type=data_pb2.DATA_TYPE_DATE, columns=[6], data=struct.pack("<2i", 0, 365)),
        ],
        statuses=bytes([1, 4, 1, 3, 1, 2, 5, 5, 1, 1, 1, 1, 1, 1]),
    )


def test_columns_come_in_the_order_of_the_spec_whatever_the_blocks() -> None:
    found = OnlineFeatures(answer())
    assert list(found.columns) == ["x", "n", "text", "y", "flag", "at", "day"]
    assert found.columns["y"].tolist() == [7, 8]
    assert found.columns["n"].dtype == np.int64
    assert found.columns["text"].tolist() == ["né", ""]


def test_rows_have_none_where_there_is_no_value() -> None:
    first, second = OnlineFeatures(answer()).to_dicts()
    assert first == {"x": 0.5, "n": 42, "text": "né", "y": 7.0, "flag": True, "at": MOMENT, "day": date(1970, 1, 1)}
    assert [second[name] for name in ("x", "n", "text", "y", "flag")] == [None, None, None, 8.0, False]


def test_statuses_say_why() -> None:
    statuses = OnlineFeatures(answer()).statuses
    assert statuses["x"] == ["PRESENT", "EXPIRED"]
    assert statuses["n"] == ["PRESENT", "NOT_FOUND"]
    assert statuses["text"] == ["PRESENT", "NULL"]
    assert statuses["y"] == ["DEFAULTED", "DEFAULTED"]


def test_without_statuses_everything_is_present() -> None:
    bare = answer()
    bare.statuses = b""
    found = OnlineFeatures(bare)
    assert found.statuses["n"] == ["PRESENT", "PRESENT"]
    assert found.to_dicts()[1]["n"] == 0


def test_a_frame_has_missing_values_of_the_column_s_own_type() -> None:
    frame = OnlineFeatures(answer()).to_pandas()
    assert str(frame["n"].dtype) == "Int64"
    assert frame["n"].tolist() == [42, pd.NA]
    assert frame["at"][0] == pd.Timestamp(MOMENT)
    assert frame["text"].isna().tolist() == [False, True]
    assert frame["x"].isna().tolist() == [False, True]


def test_the_numbers_are_not_copied() -> None:
    found = OnlineFeatures(answer())
    assert not found.columns["n"].flags.owndata
