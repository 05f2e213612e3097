"""Describes a dataset that a run uses: its fingerprint, columns and size, from the frame itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.extras import need
from fivefold.sdk.frames import library_of
from fivefold.sdk.tracking.runs import texts
from fivefold.tracking.v1 import tracking_pb2 as pb

CONTEXT = "mlflow.data.context"  # tag of a use: training, validation, …
_ROWS = 1 << 16  # rows digested at a time
_MOST_COLUMNS = 5000  # whose names and types are kept


def described(
    data: Any,
    *,
    name: str = "",
    context: str = "",
    source: str = "",
    source_type: str = "",
    digest: str = "",
    tags: Mapping[str, Any] | None = None,
) -> pb.DatasetInput:
    """Returns the message that records a use of `data`.

    data    a pandas, polars or pyarrow frame, a numpy array, a dict of columns; a training set of the features
            service; or a text that names the dataset, with its `digest`
    name    what the dataset is called; "": the training set's name, else "dataset"
    digest  "": the sha256 of the frame's rows, columns and types

    Raises InvalidArgument for anything else.
    """
    marks = texts(tags) | ({CONTEXT: context} if context else {})
    if isinstance(data, str):
        if not digest:
            raise InvalidArgument(
                f"dataset {data!r} is named without a digest; pass digest=…, or the frame itself",
                reason="FIELD_REQUIRED",
                facts={"field": "digest"},
            )
        return pb.DatasetInput(dataset=name or data, digest=digest, source=source, source_type=source_type, tags=marks)
    if type(data).__name__ == "TrainingSet" and hasattr(data, "digest"):
        return pb.DatasetInput(
            dataset=name or data.name,
            digest=digest or data.digest,
            source=source or data.name,
            source_type=source_type or "fivefold_training_set",
            profile=json.dumps({"num_rows": data.rows}),
            tags=marks,
        )
    table = _table(data)
    columns = [{"name": field.name, "type": str(field.type)} for field in list(table.schema)[:_MOST_COLUMNS]]
    return pb.DatasetInput(
        dataset=name or "dataset",
        digest=digest or _digest(table),
        source=source,
        source_type=source_type or ("local" if source else "code"),
        schema=json.dumps({"columns": columns}),
        profile=json.dumps({"num_rows": table.num_rows, "num_elements": table.num_rows * table.num_columns}),
        tags=marks,
    )


def _table(data: Any) -> Any:
    pa = need("pyarrow", "log_dataset() of a frame")
    library = library_of(data)
    try:
        if library == "pandas":
            return pa.Table.from_pandas(data, preserve_index=False)
        if library == "polars":
            return data.to_arrow()
        if library == "pyarrow" and hasattr(data, "schema"):
            return data if isinstance(data, pa.Table) else pa.Table.from_batches(data)
        if isinstance(data, Mapping):
            return pa.table(dict(data))
        if type(data).__name__ == "ndarray" and data.ndim in (1, 2):
            columns = data.reshape(len(data), -1)
            return pa.table({str(place): columns[:, place] for place in range(columns.shape[1])})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidArgument(f"the dataset is no table of columns: {error}", reason="FIELD_INVALID") from None
    raise InvalidArgument(
        f"the dataset is a {type(data).__name__}; it must be a frame, an array, a dict of columns, a training set or"
        " the name of a dataset with its digest",
        reason="FIELD_INVALID",
    )


def _digest(table: Any) -> str:
    """Returns the sha256 of an Arrow stream of fixed batches, so that how the frame was cut up makes no difference."""
    pa = need("pyarrow", "log_dataset()")
    digest = hashlib.sha256()

    class Digesting:
        closed = False

        def write(self, data: Any) -> int:
            digest.update(data)
            return len(data)

        def flush(self) -> None: ...

        def close(self) -> None: ...

        def writable(self) -> bool:
            return True

    plain = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(Digesting(), "w"), plain.schema) as writer:
        writer.write_table(plain, max_chunksize=_ROWS)
    return digest.hexdigest()
