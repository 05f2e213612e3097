"""Params, tags and points as calls of LogBatch, each within the service's limits and atomic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fivefold.sdk.tracking.runs import texts
from fivefold.sdk.transport import request_id
from fivefold.tracking.v1 import tracking_pb2 as pb

_MOST_METRICS = 1000  # of one LogBatch
_MOST_LABELS = 100  # params, and tags, of one LogBatch


def batches(
    run: str,
    *,
    metrics: Sequence[pb.Metric] = (),
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    allow_ended: bool = False,
) -> Iterator[pb.LogBatchRequest]:
    """Yields the calls that log these values; none for no values.

    run  the full name
    """
    labels, marks = list(texts(params).items()), list(texts(tags).items())
    parts = max(
        math.ceil(len(metrics) / _MOST_METRICS),
        math.ceil(len(labels) / _MOST_LABELS),
        math.ceil(len(marks) / _MOST_LABELS),
    )
    for part in range(parts):
        few, many = part * _MOST_LABELS, part * _MOST_METRICS
        yield pb.LogBatchRequest(
            run=run,
            metrics=metrics[many : many + _MOST_METRICS],
            params=dict(labels[few : few + _MOST_LABELS]),
            tags=dict(marks[few : few + _MOST_LABELS]),
            request_id=request_id(),
            allow_ended=allow_ended,
        )
