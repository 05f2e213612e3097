"""The Open Inference Protocol as Triton's own client speaks it, and what no client of theirs would send."""

from __future__ import annotations

import queue
import struct
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from fivefold.inference.v1 import inference_pb2 as pb
from fivefold.models.signature import Column, Signature
from fivefold_runtime.errors import parse
from fivefold_serving.errors import InputMismatch
from fivefold_serving.tensors import Given
from tests.serving import fitted
from tests.serving.world import Server, until

DATATYPES = {"delay": "FP64", "seats": "INT64", "speed": "FP32", "jet": "BOOL", "carrier": "BYTES", "origin": "BYTES"}
NUMPY = {"FP64": np.float64, "INT64": np.int64, "FP32": np.float32, "BOOL": bool, "BYTES": object}


@pytest.fixture(scope="module")
def client(served: Server) -> Iterator[triton.InferenceServerClient]:
    made = triton.InferenceServerClient(served.running.address)
    yield made
    made.close()


@pytest.fixture(scope="module")
def infer(channel: grpc.Channel) -> Any:
    """ModelInfer under its standard name, to send what a well-made client never would."""
    return channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )


def complete(count: int = 12) -> Any:
    """Rows without missing values: most of the protocol's types have no way to say that one is missing."""
    return fitted.table().dropna().head(count).reset_index(drop=True)


def tensors(frame: Any, *, column: bool = False) -> list[triton.InferInput]:
    made = []
    for name, kind in DATATYPES.items():
        values = frame[name].to_numpy()
        array = np.array([text.encode() for text in values], object) if kind == "BYTES" else values.astype(NUMPY[kind])
        array = array[:, None] if column else array
        tensor = triton.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


@pytest.mark.parametrize("column", [False, True], ids=["[rows]", "[rows, 1]"])
def test_tritons_client_gets_the_answers_of_the_model_as_it_was_fitted(
    client: triton.InferenceServerClient, column: bool
) -> None:
    frame = complete()
    answer = client.infer("soon", tensors(frame, column=column), request_id="seven")
    wanted = fitted.expected(fitted.pipeline("xgboost three"), frame)
    for place, label in enumerate(["fine", "late", "soon"]):
        np.testing.assert_allclose(answer.as_numpy(f"probability_{label}"), wanted[:, place], atol=1e-6)
    labels = np.array(["fine", "late", "soon"])[wanted.argmax(axis=1)]
    assert [label.decode() for label in answer.as_numpy("label")] == labels.tolist()
    response = answer.get_response()
    assert (response.model_name, response.model_version, response.id) == ("soon", "1", "seven")


def test_only_the_outputs_that_are_asked_for_come(client: triton.InferenceServerClient) -> None:
    answer = client.infer("soon", tensors(complete()), outputs=[triton.InferRequestedOutput("probability_late")])
    assert [output.name for output in answer.get_response().outputs] == ["probability_late"]
    with pytest.raises(triton.InferenceServerException, match="'nonsense': no such output"):
        client.infer("soon", tensors(complete()), outputs=[triton.InferRequestedOutput("nonsense")])


def test_the_server_and_its_models_describe_themselves(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.get_server_metadata().name == "fivefold"
    assert client.is_model_ready("soon") and client.is_model_ready("soon", "1")
    assert not client.is_model_ready("soon", "9")
    described = client.get_model_metadata("soon")
    assert {one.name: one.datatype for one in described.inputs} == DATATYPES
    assert [one.name for one in described.outputs] == [
        "label",
        "probability_fine",
        "probability_late",
        "probability_soon",
    ]
    assert (list(described.versions), described.platform) == (["1"], "compiled xgboost")


def test_the_index_names_every_version_with_its_state(client: triton.InferenceServerClient) -> None:
    found = {(one.name, one.version): one.state for one in client.get_model_repository_index().models}
    assert found[("soon", "1")] == "READY"
    assert {model for model, _ in found} >= {"late", "soon", "minutes", "slow"}


def test_a_model_is_unloaded_and_loaded_by_hand(client: triton.InferenceServerClient, served: Server) -> None:
    client.unload_model("minutes")
    assert not client.is_model_ready("minutes")
    with pytest.raises(triton.InferenceServerException, match="has no version in Production"):
        client.infer("minutes", tensors(complete()))
    client.load_model("minutes")
    assert client.is_model_ready("minutes")
    for call in (client.load_model, client.unload_model):
        with pytest.raises(triton.InferenceServerException, match="models/nobody"):
            call("nobody")


def test_a_stream_answers_in_order_and_goes_on_after_an_error(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for place in range(3):
        frame = complete(place + 1)
        client.async_stream_infer("soon" if place != 1 else "nobody", tensors(frame), request_id=str(place))
    until(lambda: answers.qsize() == 3, "three answers came")
    client.stop_stream()
    first, second, third = (answers.get() for _ in range(3))
    assert first[0].get_response().id == "0" and third[0].get_response().id == "2"
    assert "models/nobody" in str(second[1])


def test_typed_contents_are_answered_in_kind(infer: Any) -> None:
    frame = complete(3)
    fields = {
        "FP64": "fp64_contents", "INT64": "int64_contents", "FP32": "fp32_contents", "BOOL": "bool_contents",
        "BYTES": "bytes_contents",
    }  # fmt: skip
    request = pb.ModelInferRequest(model_name="soon")
    for name, kind in DATATYPES.items():
        values = [one.encode() for one in frame[name]] if kind == "BYTES" else frame[name].astype(NUMPY[kind]).tolist()
        request.inputs.add(name=name, datatype=kind, shape=[3], contents={fields[kind]: values})
    answer = infer(request)
    wanted = fitted.expected(fitted.pipeline("xgboost three"), frame)
    got = {output.name: output for output in answer.outputs}
    np.testing.assert_allclose(got["probability_late"].contents.fp64_contents, wanted[:, 1], atol=1e-6)
    assert not answer.raw_output_contents
    assert got["label"].datatype == "BYTES"


def raw(name: str, kind: str, shape: list[int], data: bytes) -> tuple[Any, bytes]:
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype=kind, shape=shape), data


def good() -> dict[str, tuple[Any, bytes]]:
    text = struct.pack("<I", 2) + b"AA"
    return {
        "delay": raw("delay", "FP64", [1], struct.pack("<d", 1.5)),
        "seats": raw("seats", "INT64", [1], struct.pack("<q", 100)),
        "speed": raw("speed", "FP32", [1], struct.pack("<f", 400.0)),
        "jet": raw("jet", "BOOL", [1], b"\x01"),
        "carrier": raw("carrier", "BYTES", [1], text),
        "origin": raw("origin", "BYTES", [1], text),
    }


@pytest.mark.parametrize(
    ("tensor", "came", "expected"),
    [
        (raw("carrier", "FP64", [1], struct.pack("<d", 1.0)), "FP64", "BYTES"),
        (raw("delay", "BYTES", [1], struct.pack("<I", 3) + b"1.5"), "BYTES", "FP64"),
        (raw("jet", "FP32", [1], struct.pack("<f", 1.0)), "FP32", "BOOL"),
        (raw("delay", "TEXT", [1], b""), "'TEXT'", "FP64"),
        (raw("seats", "INT64", [2], struct.pack("<2q", 1, 2)), "2 rows", "1 rows"),
        (raw("delay", "FP64", [1, 2], struct.pack("<2d", 1, 2)), "shape [1, 2]", "[rows, 1]"),
        (raw("delay", "FP64", [-1], b""), "-1 rows", "a number of rows"),
        (raw("delay", "FP64", [1], b"\0" * 7), "7 bytes", "8 bytes"),
        (raw("carrier", "BYTES", [1], struct.pack("<I", 2) + b"\xff\xfe"), "not UTF-8 in row 0", "UTF-8"),
        (raw("carrier", "BYTES", [1], struct.pack("<I", 900) + b"AA"), "900 bytes beyond", "lengths that fit"),
        (raw("carrier", "BYTES", [1], struct.pack("<I", 2) + b"AAxyz"), "3 bytes after", "none"),
        (raw("carrier", "BYTES", [1], b"\x01"), "0 elements", "1 elements"),
        (raw("seats", "INT64", [1], struct.pack("<q", 2**60)), "beyond 2^53", "exactly"),
        (raw("delay", "FP64", [1], struct.pack("<d", float("inf"))), "inf in row 0", "finite"),
        (raw("extra", "FP64", [1], struct.pack("<d", 1.0)), "an unknown column", "carrier"),
    ],
)
def test_a_wrong_tensor_is_named_with_what_came_and_what_was_expected(
    infer: Any, tensor: tuple[Any, bytes], came: str, expected: str
) -> None:
    given = good() | {tensor[0].name: tensor}
    request = pb.ModelInferRequest(
        model_name="soon",
        inputs=[one for one, _ in given.values()],
        raw_input_contents=[data for _, data in given.values()],
    )
    reason, facts, code = refused(infer, request)
    assert (reason, code) == ("INPUT_MISMATCH", grpc.StatusCode.INVALID_ARGUMENT)
    assert came in facts["came"] and expected in facts["expected"]
    assert facts["column"] == tensor[0].name


def refused(infer: Any, request: pb.ModelInferRequest) -> tuple[str, dict[str, str], grpc.StatusCode]:
    with pytest.raises(grpc.RpcError) as raised:
        infer(request)
    reason, facts = parse(raised.value)
    return reason, facts, raised.value.code()


def test_contents_that_contradict_the_datatype_or_the_shape_are_refused(infer: Any) -> None:
    def asked(**tensor: Any) -> pb.ModelInferRequest:
        return pb.ModelInferRequest(model_name="soon", inputs=[{"name": "delay", "shape": [1], **tensor}])

    for request, came in [
        (asked(datatype="FP64", contents={"fp64_contents": [1.0, 2.0]}), "2 elements"),
        (asked(datatype="FP64", contents={"int64_contents": [1]}), "int64_contents"),
        (asked(datatype="FP16"), "FP16 in contents"),
        (asked(datatype="INT8", contents={"int_contents": [300]}), "a number beyond INT8"),
    ]:
        request.inputs.extend(
            pb.ModelInferRequest.InferInputTensor(name=name, datatype=kind, shape=[1], contents={field: [value]})
            for name, kind, field, value in [
                ("seats", "INT64", "int64_contents", 1),
                ("speed", "FP32", "fp32_contents", 1.0),
                ("jet", "BOOL", "bool_contents", True),
                ("carrier", "BYTES", "bytes_contents", b"AA"),
                ("origin", "BYTES", "bytes_contents", b"JFK"),
            ]
        )
        reason, facts, _ = refused(infer, request)
        assert (reason, facts["column"]) == ("INPUT_MISMATCH", "delay")
        assert came in facts["came"]


def test_raw_contents_must_be_as_many_as_the_inputs_and_alone(infer: Any) -> None:
    given = good()
    request = pb.ModelInferRequest(
        model_name="soon", inputs=[one for one, _ in given.values()], raw_input_contents=[b"\0" * 8]
    )
    assert refused(infer, request)[1]["expected"] == "6"
    both = pb.ModelInferRequest(
        model_name="soon",
        inputs=[one for one, _ in given.values()],
        raw_input_contents=[data for _, data in given.values()],
    )
    both.inputs[0].contents.fp64_contents.append(1.0)
    assert refused(infer, both)[1]["came"] == "contents and raw_input_contents"


def test_more_rows_than_a_call_may_have_are_refused_before_they_are_read(infer: Any) -> None:
    request = pb.ModelInferRequest(model_name="soon", inputs=[{"name": "delay", "datatype": "FP64", "shape": [10_001]}])
    assert refused(infer, request)[0] == "TOO_MANY_ITEMS"


def test_one_matrix_is_refused_where_a_column_is_text_and_says_which(infer: Any) -> None:
    matrix, data = raw("input-0", "FP64", [1, 6], struct.pack("<6d", *range(6)))
    request = pb.ModelInferRequest(model_name="soon", inputs=[matrix], raw_input_contents=[data])
    reason, facts, _ = refused(infer, request)
    assert reason == "INPUT_MISMATCH"
    assert "'carrier' is string" in facts["expected"]


def test_one_matrix_is_taken_apart_where_all_columns_are_numbers() -> None:
    signature = Signature((Column("a", "double"), Column("b", "int64")))
    matrix, data = raw("input-0", "FP32", [3, 2], np.array([[1, 2], [3, 4], [np.nan, 6]], np.float32).tobytes())
    given = Given(pb.ModelInferRequest(inputs=[matrix], raw_input_contents=[data]), signature)
    assert (given.rows, given.names) == (3, {"a", "b"})
    np.testing.assert_array_equal(given.values(signature.inputs[0]), [1.0, 3.0, np.nan])
    np.testing.assert_array_equal(given.values(signature.inputs[1]), [2.0, 4.0, 6.0])
    with pytest.raises(InputMismatch, match="shape \\[rows, 2\\]"):
        Given(pb.ModelInferRequest(inputs=[{"name": "x", "datatype": "FP32", "shape": [2, 3]}]), signature)


def test_a_version_that_is_no_number_or_not_loaded_is_not_served(infer: Any) -> None:
    for version in ("two", "7", "-1"):
        request = pb.ModelInferRequest(model_name="soon", model_version=version)
        reason, _, code = refused(infer, request)
        assert (reason, code) == ("MODEL_NOT_SERVED", grpc.StatusCode.NOT_FOUND)
