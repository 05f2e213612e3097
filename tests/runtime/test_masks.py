"""Masks: whole fields by their names, entries of a map by `tags.KEY`, and nothing else."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_runtime.errors import FivefoldError
from fivefold_runtime.masks import chosen, entries, merged

FIELDS = ("description", "tags")
maps = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=5)


def test_without_a_mask_the_fields_that_are_set_are_chosen() -> None:
    model = pb.Model(name="models/a", description="d")
    assert chosen(FieldMask(), model, FIELDS, maps=["tags"]) == {"description"}
    assert entries(FieldMask(), model, "tags") == {}


def test_a_mask_names_whole_fields_and_entries() -> None:
    mask = FieldMask(paths=["description", "tags.stage", "tags.gone"])
    model = pb.Model(description="d", tags={"stage": "x", "other": "y"})
    assert chosen(mask, model, FIELDS, maps=["tags"]) == {"description"}
    assert entries(mask, model, "tags") == {"stage": "x", "gone": None}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_the_rest_of_the_path_is_the_key_as_it_is(key: str) -> None:
    mask, model = FieldMask(paths=[f"tags.{key}"]), pb.Model(tags={key: "v"})
    assert entries(mask, model, "tags") == {key: "v"}
    assert chosen(mask, model, FIELDS, maps=["tags"]) == frozenset()


@pytest.mark.parametrize("path", ["creator", "policy.stepwise", "", ".", "tag", "tagsx.y"])
def test_another_path_is_refused(path: str) -> None:
    with pytest.raises(FivefoldError) as caught:
        chosen(FieldMask(paths=[path]), pb.Model(), FIELDS, maps=["tags"])
    assert caught.value.facts["field"] == "update_mask"


def test_entries_are_named_only_where_the_call_takes_them() -> None:
    with pytest.raises(FivefoldError):
        chosen(FieldMask(paths=["tags.stage"]), pb.Model(), FIELDS)


@pytest.mark.parametrize("path", ["tags.", "tags." + "k" * 251, "tags." + "é" * 126])
def test_a_key_that_no_entry_can_have_is_refused(path: str) -> None:
    with pytest.raises(FivefoldError) as caught:
        entries(FieldMask(paths=[path]), pb.Model(), "tags")
    assert caught.value.reason == "FIELD_INVALID"


@given(maps, maps, st.sets(st.text(max_size=3)))
def test_entries_that_are_not_named_stay(present: dict[str, str], new: dict[str, str], removed: set[str]) -> None:
    result = merged(present, {**new, **dict.fromkeys(removed)}, "tags")
    for key in present.keys() | new.keys() | removed:
        assert result.get(key) == (None if key in removed else new.get(key, present.get(key)))


def test_a_map_does_not_grow_beyond_its_limit() -> None:
    full = {str(number): "" for number in range(3)}
    assert merged(full, {"0": "new"}, "tags", most=3)["0"] == "new"
    assert len(merged(full, {"0": None, "x": ""}, "tags", most=3)) == 3
    with pytest.raises(FivefoldError) as caught:
        merged(full, {"x": ""}, "tags", most=3)
    assert caught.value.reason == "TOO_MANY_ITEMS"
