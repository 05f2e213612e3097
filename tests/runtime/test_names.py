"""Names, ids and paths: what is accepted comes back unchanged, what could leave its place is refused."""

from __future__ import annotations

import re

import pytest
from asserting import refused
from hypothesis import given
from hypothesis import strategies as st
from notes import Config, build
from notes_stubs import notes_pb2 as pb
from notes_stubs import notes_pb2_grpc

from fivefold_runtime.names import NameInvalid, Pattern, check_id, check_path
from fivefold_runtime.testing import serve

VERSION = Pattern("models/{model}/versions/{version}")

HOSTILE = [
    "", ".", "..", "../x", "..\\x", "/etc/passwd", "file:///etc/passwd", "%2e%2e", "%252e", "a\0b", "a;b", "a#b", "a?b",
    "C:", "C:\\x", "a\nb", "a\rb", "a\tb", "\x7f", "\x85", "‥", "․․", "a∕b", "a／b", "．．", "a\u200bb", "a\u202eb",
    "\ufeffa", " a", "a ", "\u2028", "x" * 257, "ä" * 129, "a/../b", "a//b", "\u2066", "a\\b",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_id_is_refused(hostile):
    with pytest.raises(NameInvalid) as caught:
        check_id(hostile, "name")
    assert caught.value.reason == "NAME_INVALID"
    assert caught.value.facts["field"] == "name"
    with pytest.raises(NameInvalid):
        VERSION.parse(f"models/{hostile}/versions/1")
    with pytest.raises(NameInvalid):
        VERSION.format(model=hostile, version=1)


@pytest.mark.parametrize("hostile", [*HOSTILE, "a/b/", "/a", "a/./b", "a/../../b", "C:/x", "a" + "/b" * 600])
def test_a_hostile_path_is_refused(hostile):
    with pytest.raises(NameInvalid):
        check_path(hostile)


@pytest.mark.parametrize(
    "plain", ["churn", "Kündigung 2024", "模型", "a.b", "..a", "a..", "-", "a:b", "x" * 256, "a@1", "50 €"]
)
def test_a_plain_id_is_accepted(plain):
    assert check_id(plain) == plain
    assert VERSION.parse(VERSION.format(model=plain, version=3)) == {"model": plain, "version": "3"}
    assert check_path(f"files/{plain}") == f"files/{plain}"


@pytest.mark.parametrize(
    "wrong", ["models/a", "models/a/versions/1/x", "model/a/versions/1", "models/a/version/1", "x"]
)
def test_a_name_of_another_form_is_refused_and_the_form_is_said(wrong):
    with pytest.raises(NameInvalid, match=re.escape(VERSION.template)):
        VERSION.parse(wrong)
    assert not VERSION.matches(wrong)


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_one_part_of_a_path_and_comes_back(text):
    try:
        check_id(text)
    except NameInvalid:
        return
    assert "/" not in text and "\\" not in text and text not in ("", ".", "..") and text.isprintable()
    assert VERSION.parse(VERSION.format(model=text, version=1))["model"] == text


def test_a_hostile_name_in_a_request_is_an_invalid_argument(tmp_path):
    with serve(build, Config(data=str(tmp_path))) as running:
        stub = notes_pb2_grpc.NotesServiceStub(running.channel)
        for hostile in ("../x", "%2e%2e", "a\u202eb", "x"):
            with refused("NAME_INVALID"):
                stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name=f"notes/a/{hostile}")))
