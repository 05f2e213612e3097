"""Validation from the contract: each limit at its edge, and any message at all ends in an answer that names a field."""

from __future__ import annotations

import math
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notes_stubs import notes_pb2 as pb

from fivefold.registry.v1 import registry_pb2
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.validation import validate

FINE = [
    pb.Note(),
    pb.Note(text="x" * 40),
    pb.Note(text="é" * 20),
    pb.Note(weight=10, colour="red", data=b"12345678"),
    pb.Note(tags={"k" * 8: "v" * 16, "b": "", "c": ""}),
    pb.Note(words=["123456"] * 5, numbers=[1.5] * 100, parts=[pb.Note()] * 4),
    pb.CreateNoteRequest(note=pb.Note(), request_id="x" * 36),
]
WRONG = [
    (pb.CreateNoteRequest(), "FIELD_REQUIRED", "note"),
    (pb.GetNoteRequest(), "FIELD_REQUIRED", "name"),
    (pb.CreateNoteRequest(note=pb.Note(), request_id="x" * 37), "FIELD_TOO_LONG", "request_id"),
    (pb.Note(text="x" * 41), "FIELD_TOO_LONG", "text"),
    (pb.Note(text="é" * 21), "FIELD_TOO_LONG", "text"),
    (pb.Note(data=b"123456789"), "FIELD_TOO_LONG", "data"),
    (pb.Note(words=["", "1234567"]), "FIELD_TOO_LONG", "words[1]"),
    (pb.Note(tags={"k" * 9: ""}), "FIELD_TOO_LONG", "tags"),
    (pb.Note(tags={"k": "v" * 17}), "FIELD_TOO_LONG", "tags['k']"),
    (pb.Note(tags={str(n): "" for n in range(4)}), "TOO_MANY_ITEMS", "tags"),
    (pb.Note(words=[""] * 6), "TOO_MANY_ITEMS", "words"),
    (pb.Note(weight=math.nan), "NOT_FINITE", "weight"),
    (pb.Note(weight=math.inf), "NOT_FINITE", "weight"),
    (pb.Note(numbers=[0, -math.inf]), "NOT_FINITE", "numbers[1]"),
    (pb.Note(weight=10.5), "FIELD_INVALID", "weight"),
    (pb.Note(weight=-10.5), "FIELD_INVALID", "weight"),
    (pb.Note(colour="Red"), "FIELD_INVALID", "colour"),
    (pb.Note(colour="red\n"), "FIELD_INVALID", "colour"),
    (pb.Note(text="a\0b"), "FIELD_INVALID", "text"),
    (pb.Note(tags={"a\0": ""}), "FIELD_INVALID", "tags"),
    (pb.Note(words=["\0"]), "FIELD_INVALID", "words[0]"),
    (pb.Note(parts=[pb.Note(parts=[pb.Note(text="x" * 41)])]), "FIELD_TOO_LONG", "parts[0].parts[0].text"),
    (pb.Note(named={"n": pb.Note(text="x" * 41)}), "FIELD_TOO_LONG", "named['n'].text"),
    (registry_pb2.TransitionStageRequest(name="m", stage=99), "FIELD_INVALID", "stage"),
]


@pytest.mark.parametrize("message", FINE, ids=str)
def test_a_message_within_its_limits_passes(message):
    validate(message)


@pytest.mark.parametrize(
    ("message", "reason", "field"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_limit_has_a_reason_and_names_the_field(message, reason, field):
    with pytest.raises(InvalidArgument) as caught:
        validate(message)
    assert (caught.value.reason, caught.value.facts["field"]) == (reason, field)
    assert caught.value.fields[0].field == field


def test_times_that_no_language_can_hold_are_refused():
    for seconds, nanos in ((253_402_300_800, 0), (-62_135_596_801, 0), (0, -1), (0, 1_000_000_000)):
        model = registry_pb2.Model(name="models/a")
        model.create_time.seconds, model.create_time.nanos = seconds, nanos
        with pytest.raises(InvalidArgument) as caught:
            validate(model)
        assert caught.value.facts["field"] == "create_time"


def test_a_message_that_is_nested_too_deep_is_refused():
    deep = pb.Note(text="bottom")
    for _ in range(40):
        deep = pb.Note(parts=[deep])
    with pytest.raises(InvalidArgument, match="nested deeper than 32"):
        validate(deep)


texts = st.text(max_size=60)
notes = st.recursive(
    st.builds(
        pb.Note,
        text=texts,
        weight=st.floats(),
        colour=texts,
        data=st.binary(max_size=12),
        words=st.lists(texts, max_size=7),
        numbers=st.lists(st.floats(), max_size=5),
        tags=st.dictionaries(texts, texts, max_size=5),
    ),
    lambda inner: st.builds(
        pb.Note, parts=st.lists(inner, max_size=6), named=st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)


def fits(note: pb.Note) -> bool:
    """The contract of Note, written out a second time."""
    size = lambda text: len(text.encode())  # noqa: E731
    every_text = [note.text, note.colour, *note.words, *note.tags, *note.tags.values(), *note.named]
    return (
        all("\0" not in text for text in every_text)
        and size(note.text) <= 40
        and math.isfinite(note.weight)
        and abs(note.weight) <= 10
        and len(note.tags) <= 3
        and all(size(key) <= 8 and size(value) <= 16 for key, value in note.tags.items())
        and len(note.parts) <= 4
        and (not note.colour or (note.colour.isascii() and note.colour.isalpha() and note.colour.islower()))
        and len(note.colour) <= 8
        and len(note.data) <= 8
        and len(note.words) <= 5
        and all(size(word) <= 6 for word in note.words)
        and all(map(math.isfinite, note.numbers))
        and all(map(fits, [*note.parts, *note.named.values()]))
    )


@given(notes)
def test_what_passes_is_exactly_what_the_contract_allows(note):
    try:
        validate(note)
    except InvalidArgument as error:
        assert not fits(note), error
        assert error.facts["field"]
        error.trailers()
    else:
        assert fits(note)


def test_an_ordinary_request_is_validated_in_microseconds():
    request = pb.CreateNoteRequest(note=pb.Note(name="notes/a", text="hello", tags={"a": "b"}), request_id="r")
    validate(request)
    seconds = min(timeit.repeat(lambda: validate(request), number=200, repeat=5)) / 200
    print(f"{seconds * 1e6:.1f} µs")
    assert seconds < 0.001
