"""Page tokens: they come back as they were, and only to the query that they belong to."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notes_stubs import notes_pb2 as pb

from fivefold_runtime import paging
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.paging import PageTokenInvalid

keys = st.lists(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), max_size=4)


@given(keys, st.binary(max_size=20))
def test_a_token_gives_its_key_back(key, query):
    assert paging.after(paging.token(key, query), query) == key


@given(keys, st.binary(max_size=20), st.binary(max_size=20))
def test_a_token_of_another_query_is_refused(key, query, other):
    if query != other:
        with pytest.raises(PageTokenInvalid) as caught:
            paging.after(paging.token(key, query), other)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


@given(keys, st.data())
def test_a_token_with_a_bit_changed_is_refused(key, data):
    raw = bytearray(base64.urlsafe_b64decode(paging.token(key, "q") + "=="))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PageTokenInvalid):
        paging.after(base64.urlsafe_b64encode(raw).decode().rstrip("="), "q")


@given(st.text(max_size=60))
def test_nonsense_is_refused(text):
    if text:
        with pytest.raises(PageTokenInvalid):
            paging.after(text, "q")


def test_an_endless_token_is_refused():
    with pytest.raises(PageTokenInvalid):
        paging.after("A" * 100_000, "q")


def test_no_token_is_the_first_page():
    assert paging.after("", "q") is None


def test_a_query_is_the_request_without_token_and_size():
    first = pb.ListNotesRequest(prefix="a", page_size=3)
    assert paging.query_of(first) == paging.query_of(pb.ListNotesRequest(prefix="a", page_token="x", page_size=9))
    assert paging.query_of(first) != paging.query_of(pb.ListNotesRequest(prefix="b", page_size=3))


def listing(key):
    request = pb.ListNotesRequest()
    request.page_token = paging.token_of(request, key)
    return request


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_a_key_of_the_right_kinds_comes_back(number, real, text):
    request = listing([number, real, text, None])
    kinds = (paging.NUMBER, paging.REAL, paging.TEXT, (paging.TEXT, paging.NOTHING))
    assert paging.key_of(request, *kinds) == (number, real, text, None)
    assert paging.key_of(pb.ListNotesRequest(), *kinds) is None


@pytest.mark.parametrize(
    "key", [[], [1, 2], ["x"], [2**63], [-(2**63) - 1], [2**70], [True], [1.0], [None], [[1]], [{}]]
)
def test_a_made_up_key_is_refused(key):
    with pytest.raises(PageTokenInvalid):
        paging.key_of(listing(key), paging.NUMBER)


@pytest.mark.parametrize("text", ["a\0", "\ud800"])
def test_a_text_that_no_database_takes_is_refused(text):
    request = pb.ListNotesRequest()
    body = json.dumps([text]).encode()
    sum_ = paging._sum(body, paging.query_of(request))
    request.page_token = base64.urlsafe_b64encode(sum_ + body).decode().rstrip("=")
    with pytest.raises(PageTokenInvalid):
        paging.key_of(request, paging.TEXT)


def test_the_last_page_has_no_token():
    assert paging.token_of(pb.ListNotesRequest(), None) == ""


def test_a_token_of_another_method_is_refused():
    assert pb.ListNotesRequest().SerializeToString() == pb.Note().SerializeToString()
    assert paging.query_of(pb.ListNotesRequest()) != paging.query_of(pb.Note())


def test_a_page_size_has_a_default_and_a_limit():
    assert [paging.size(asked, 50, 1000) for asked in (0, 1, 1000, 5000)] == [50, 1, 1000, 1000]
    with pytest.raises(InvalidArgument) as caught:
        paging.size(-1, 50, 1000)
    assert caught.value.reason == "FIELD_INVALID"
