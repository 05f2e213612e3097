"""The model registry beside MLflow's own: every claim with `either_registry` is true of both."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from fivefold_mlflow.registry import RegistryStore
from tests.mlflow.conftest import URI

RUN = "0123456789abcdef0123456789abcdef"


def code(raised: pytest.ExceptionInfo[MlflowException]) -> str:
    return raised.value.error_code


@pytest.fixture
def model(either_registry: Any, name: str) -> str:
    either_registry.create_registered_model(name)
    return name


def versions(store: Any, model: str, count: int, **more: Any) -> list[Any]:
    return [store.create_model_version(model, f"s3://elsewhere/{i}", **more) for i in range(count)]


def test_a_model_is_found_as_it_was_registered(either_registry: Any, name: str) -> None:
    tags = [RegisteredModelTag("team", "a"), RegisteredModelTag("note", "x y")]
    made = either_registry.create_registered_model(name, tags, "for tests")
    found = either_registry.get_registered_model(name)
    assert (made.name, made.description, made.tags) == (name, "for tests", {"team": "a", "note": "x y"})
    assert (found.tags, found.latest_versions, found.aliases) == (made.tags, [], {})
    assert found.creation_timestamp == found.last_updated_timestamp > 1.6e12


def test_a_name_that_is_taken_is_refused(either_registry: Any, model: str) -> None:
    with pytest.raises(MlflowException, match=rf"Registered Model \(name={model}\) already exists") as raised:
        either_registry.create_registered_model(model)
    assert code(raised) == "RESOURCE_ALREADY_EXISTS"


@pytest.mark.parametrize("bad", [None, "", "  "])
def test_a_model_needs_a_name(either_registry: Any, bad: Any) -> None:
    with pytest.raises(MlflowException, match="Missing value for required parameter 'name'") as raised:
        either_registry.create_registered_model(bad)
    assert code(raised) == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("bad", ["a/b", "a:b"])
def test_a_name_with_a_slash_or_colon_is_refused(either_registry: Any, bad: str) -> None:
    with pytest.raises(MlflowException, match="Names cannot contain '/' or ':'") as raised:
        either_registry.create_registered_model(bad)
    assert code(raised) == "INVALID_PARAMETER_VALUE"


def test_a_model_that_is_not_there_is_said_to_be_missing_by_every_call(either_registry: Any, name: str) -> None:
    calls = [
        lambda: either_registry.get_registered_model(name),
        lambda: either_registry.update_registered_model(name, "x"),
        lambda: either_registry.rename_registered_model(name, name + "2"),
        lambda: either_registry.delete_registered_model(name),
        lambda: either_registry.get_latest_versions(name),
        lambda: either_registry.set_registered_model_tag(name, RegisteredModelTag("k", "v")),
        lambda: either_registry.delete_registered_model_tag(name, "k"),
        lambda: either_registry.create_model_version(name, "s3://x/y"),
        lambda: either_registry.get_model_version_by_alias(name, "champion"),
        lambda: either_registry.delete_registered_model_alias(name, "champion"),
    ]
    for call in calls:
        with pytest.raises(MlflowException, match=f"Registered Model with name={name} not found") as raised:
            call()
        assert code(raised) == "RESOURCE_DOES_NOT_EXIST"


def test_a_version_that_is_not_there_is_said_to_be_missing_by_every_call(either_registry: Any, model: str) -> None:
    calls = [
        lambda: either_registry.get_model_version(model, 7),
        lambda: either_registry.update_model_version(model, 7, "x"),
        lambda: either_registry.transition_model_version_stage(model, 7, "Staging", False),
        lambda: either_registry.delete_model_version(model, 7),
        lambda: either_registry.get_model_version_download_uri(model, 7),
        lambda: either_registry.set_model_version_tag(model, 7, ModelVersionTag("k", "v")),
        lambda: either_registry.delete_model_version_tag(model, 7, "k"),
        lambda: either_registry.set_registered_model_alias(model, "champion", 7),
    ]
    for call in calls:
        with pytest.raises(MlflowException, match=rf"Model Version \(name={model}, version=7\) not found") as raised:
            call()
        assert code(raised) == "RESOURCE_DOES_NOT_EXIST"


def test_a_version_is_a_number(either_registry: Any, model: str) -> None:
    with pytest.raises(MlflowException, match="Parameter 'version' must be an integer, got 'two'") as raised:
        either_registry.get_model_version(model, "two")
    assert code(raised) == "INVALID_PARAMETER_VALUE"


def test_description_and_name_change_and_versions_move_along(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 2)
    assert either_registry.update_registered_model(model, "new").description == "new"
    renamed = either_registry.rename_registered_model(model, model + "x")
    assert (renamed.name, renamed.description) == (model + "x", "new")
    assert [each.name for each in either_registry.search_model_versions(f"name = '{model}x'")] == [model + "x"] * 2
    with pytest.raises(MlflowException, match=f"Registered Model with name={model} not found"):
        either_registry.get_registered_model(model)
    either_registry.create_registered_model(model)
    with pytest.raises(MlflowException, match=rf"Registered Model \(name={model}\) already exists") as raised:
        either_registry.rename_registered_model(model + "x", model)
    assert code(raised) == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(MlflowException, match="Missing value for required parameter 'new_name'"):
        either_registry.rename_registered_model(model, "")


def test_a_deleted_model_is_gone_with_its_versions(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 1)
    either_registry.delete_registered_model(model)
    with pytest.raises(MlflowException, match=rf"Model Version \(name={model}, version=1\) not found") as raised:
        either_registry.get_model_version(model, 1)
    assert code(raised) == "RESOURCE_DOES_NOT_EXIST"


def test_tags_of_a_model_are_set_replaced_and_deleted(either_registry: Any, model: str) -> None:
    for key, value in (("a", "1"), ("b.c/d e", "2"), ("a", "3")):
        either_registry.set_registered_model_tag(model, RegisteredModelTag(key, value))
    assert either_registry.get_registered_model(model).tags == {"a": "3", "b.c/d e": "2"}
    either_registry.delete_registered_model_tag(model, "b.c/d e")
    either_registry.delete_registered_model_tag(model, "never there")
    assert either_registry.get_registered_model(model).tags == {"a": "3"}
    with pytest.raises(MlflowException, match="Missing value for required parameter 'key'"):
        either_registry.set_registered_model_tag(model, RegisteredModelTag(None, ""))
    with pytest.raises(MlflowException, match=r"'value' exceeds the maximum length of \d+ characters"):
        either_registry.set_registered_model_tag(model, RegisteredModelTag("k", "a" * 100_001))


def test_versions_count_up_and_keep_what_was_said(either_registry: Any, model: str) -> None:
    first = either_registry.create_model_version(
        model, "path/to/source", RUN, [ModelVersionTag("k", "v")], "http://run", "first"
    )
    second = either_registry.create_model_version(model, "s3://bucket/model")
    assert (int(first.version), int(second.version)) == (1, 2)
    found = either_registry.get_model_version(model, 1)
    assert (found.source, found.run_id, found.run_link) == ("path/to/source", RUN, "http://run")
    assert (found.tags, found.description, found.current_stage) == ({"k": "v"}, "first", "None")
    assert (found.status, found.aliases) == ("READY", [])
    assert second.tags == {}
    assert second.run_id is None
    assert either_registry.get_model_version_download_uri(model, 2) == "s3://bucket/model"


def test_a_run_that_nobody_knows_is_kept_as_text(either_registry: Any, model: str) -> None:
    either_registry.create_model_version(model, "s3://x/y", "not a run of ours")
    assert either_registry.get_model_version(model, 1).run_id == "not a run of ours"
    found = either_registry.search_model_versions("run_id = 'not a run of ours'")
    assert [each.name for each in found] == [model]


def test_a_model_of_another_tracking_store_stays_a_name(models: RegistryStore, name: str) -> None:
    beside = RegistryStore(URI, "sqlite:///elsewhere.db")
    beside.create_registered_model(name)
    for source in (f"models:/m-{RUN}", f"runs:/{RUN}/model"):
        made = beside.create_model_version(name, source, RUN, model_id=f"m-{RUN}")
        found = models.get_model_version(name, made.version)
        assert (found.source, found.run_id, found.model_id) == (source, RUN, f"m-{RUN}")
        assert models.get_model_version_download_uri(name, made.version) == source
    with pytest.raises(MlflowException) as raised:
        models.create_model_version(name, f"models:/m-{RUN}")
    assert code(raised) == "INVALID_PARAMETER_VALUE"


def test_tags_of_a_version_are_set_replaced_and_deleted(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 1)
    for key, value in (("a", "1"), ("b.c/d e", "2"), ("a", "3")):
        either_registry.set_model_version_tag(model, 1, ModelVersionTag(key, value))
    assert either_registry.get_model_version(model, 1).tags == {"a": "3", "b.c/d e": "2"}
    either_registry.delete_model_version_tag(model, "1", "b.c/d e")
    either_registry.delete_model_version_tag(model, 1, "never there")
    assert either_registry.get_model_version(model, "1").tags == {"a": "3"}
    with pytest.raises(MlflowException, match="Tag value cannot be None"):
        either_registry.set_model_version_tag(model, 1, ModelVersionTag("k", None))


def test_a_version_moves_through_stages_whatever_their_case(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 1)
    for asked, stage in (("Staging", "Staging"), ("pRODUCTION", "Production"), ("none", "None")):
        moved = either_registry.transition_model_version_stage(model, 1, asked, False)
        assert moved.current_stage == stage
    with pytest.raises(MlflowException, match=r"Invalid Model Version stage: unknown. Value must be one of") as raised:
        either_registry.transition_model_version_stage(model, 1, "unknown", False)
    assert code(raised) == "INVALID_PARAMETER_VALUE"


def test_a_promotion_archives_the_others_where_it_is_asked_to(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 3)
    either_registry.transition_model_version_stage(model, 1, "Production", False)
    either_registry.transition_model_version_stage(model, 2, "Production", False)
    stages = [either_registry.get_model_version(model, number).current_stage for number in (1, 2, 3)]
    assert stages == ["Production", "Production", "None"]
    either_registry.transition_model_version_stage(model, 3, "Production", True)
    stages = [either_registry.get_model_version(model, number).current_stage for number in (1, 2, 3)]
    assert stages == ["Archived", "Archived", "Production"]
    for stage in ("None", "Archived"):
        with pytest.raises(MlflowException, match=f"because '{stage}' is not an Active stage"):
            either_registry.transition_model_version_stage(model, 3, stage, True)


def test_the_latest_version_of_each_stage_is_told(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 4)
    for number, stage in ((2, "Production"), (3, "Production"), (4, "Staging")):
        either_registry.transition_model_version_stage(model, number, stage, False)

    def latest(stages: list[str] | None) -> dict[str, str]:
        return {each.current_stage: str(each.version) for each in either_registry.get_latest_versions(model, stages)}

    assert latest(None) == latest([]) == {"None": "1", "Production": "3", "Staging": "4"}
    assert latest(["pRODUCTION"]) == {"Production": "3"}
    assert latest(["None", "Production"]) == {"None": "1", "Production": "3"}
    found = either_registry.get_registered_model(model).latest_versions
    assert {each.current_stage: str(each.version) for each in found} == latest(None)
    with pytest.raises(MlflowException, match="Invalid Model Version stage"):
        latest(["unknown"])


def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 2)
    either_registry.set_registered_model_alias(model, "champion", 2)
    either_registry.delete_model_version(model, 2)
    with pytest.raises(MlflowException, match=rf"Model Version \(name={model}, version=2\) not found"):
        either_registry.get_model_version(model, 2)
    with pytest.raises(MlflowException, match="Registered model alias champion not found"):
        either_registry.get_model_version_by_alias(model, "champion")
    assert int(either_registry.create_model_version(model, "s3://x/y").version) == 3


def test_aliases_point_to_versions(either_registry: Any, model: str) -> None:
    versions(either_registry, model, 2)
    either_registry.set_registered_model_alias(model, "champion", 1)
    either_registry.set_registered_model_alias(model, "Other-1_", "1")
    assert int(either_registry.get_model_version_by_alias(model, "champion").version) == 1
    assert sorted(either_registry.get_model_version(model, 1).aliases) == ["Other-1_", "champion"]
    either_registry.set_registered_model_alias(model, "champion", "2")
    assert either_registry.get_registered_model(model).aliases == {"champion": 2, "Other-1_": 1}
    either_registry.delete_registered_model_alias(model, "champion")
    either_registry.delete_registered_model_alias(model, "champion")
    with pytest.raises(MlflowException, match=r"Registered model alias champion not found.") as raised:
        either_registry.get_model_version_by_alias(model, "champion")
    assert code(raised) == "INVALID_PARAMETER_VALUE"
    assert int(either_registry.get_model_version_by_alias(model, "latest").version) == 2


@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ("", "Registered model alias name cannot be empty."),
        ("a b", "Names may only contain alphanumerics"),
        ("latest", "alias name .case insensitive. is reserved"),
        ("v3", "Version alias name 'v3' is reserved"),
        ("a" * 256, "exceeds the maximum length"),
    ],
)
def test_an_alias_that_could_be_mistaken_is_refused(either_registry: Any, model: str, alias: str, message: str) -> None:
    versions(either_registry, model, 1)
    with pytest.raises(MlflowException, match=message) as raised:
        either_registry.set_registered_model_alias(model, alias, 1)
    assert code(raised) == "INVALID_PARAMETER_VALUE"


def test_models_are_found_by_name_and_tags(either_registry: Any, name: str) -> None:
    for suffix, tags in (("a", {"t": "x"}), ("B", {"t": "y", "u": "z"}), ("c", {})):
        pairs = [RegisteredModelTag(key, value) for key, value in tags.items()]
        either_registry.create_registered_model(f"{name}{suffix}", pairs)

    def found(text: str, **more: Any) -> list[str]:
        return [each.name.removeprefix(name) for each in either_registry.search_registered_models(text, **more)]

    assert found(f"name LIKE '{name}%'") == ["B", "a", "c"]
    assert found(f"name ILIKE '{name}b'") == ["B"]
    assert found(f"name = '{name}a'") == ["a"]
    assert found(f"name != '{name}a' AND name LIKE '{name}%'") == ["B", "c"]
    assert found(f"name IN ('{name}a', '{name}c')") == ["a", "c"]
    assert found(f"tag.t = 'x' AND name LIKE '{name}%'") == ["a"]
    assert found(f"tags.t LIKE '%' AND tags.u = 'z' AND name LIKE '{name}%'") == ["B"]
    assert found(f"tags.t != 'x' AND name LIKE '{name}%'") == ["B"]
    assert found(f"name LIKE '{name}%'", order_by=["name DESC"]) == ["c", "a", "B"]
    assert found(f"name LIKE '{name}%'", order_by=["last_updated_timestamp ASC", "name"]) == ["a", "B", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = x", "Parameter value is either not quoted or unidentified quote types"),
        ("name > 'x'", "Invalid comparator|Invalid clause"),
        ("run_id = 'x'", "Invalid attribute"),
        ("name = 'x' OR name = 'y'", "Invalid clause"),
    ],
)
def test_a_filter_of_models_with_a_mistake_is_refused(either_registry: Any, text: str, message: str) -> None:
    with pytest.raises(MlflowException, match=message) as raised:
        either_registry.search_registered_models(text)
    assert code(raised) == "INVALID_PARAMETER_VALUE"


def test_models_come_page_by_page(either_registry: Any, name: str) -> None:
    names = [f"{name}{i:02}" for i in range(7)]
    for each in names:
        either_registry.create_registered_model(each)
    seen, token = [], None
    while True:
        page = either_registry.search_registered_models(f"name LIKE '{name}%'", max_results=3, page_token=token)
        seen.append([each.name for each in page])
        token = page.token
        if not token:
            break
    assert seen == [names[:3], names[3:6], names[6:]]
    with pytest.raises(MlflowException, match="It must be at most 1000") as raised:
        either_registry.search_registered_models(max_results=1001)
    assert code(raised) == "INVALID_PARAMETER_VALUE"


def test_versions_are_found_by_what_they_are(either_registry: Any, name: str) -> None:
    one, two = f"{name}1", f"{name}2"
    for model in (one, two):
        either_registry.create_registered_model(model)
    either_registry.create_model_version(one, "A/B", RUN[::-1], [ModelVersionTag("t", "x")])
    either_registry.create_model_version(one, "A/C", RUN)
    either_registry.create_model_version(two, "A/D", RUN, [ModelVersionTag("t", "y")])

    def found(text: str, **more: Any) -> list[str]:
        rows = either_registry.search_model_versions(text, **more)
        return [f"{each.name.removeprefix(name)}.{each.version}" for each in rows if each.name in (one, two)]

    newest = ["version_number DESC"]
    assert found(f"name = '{one}'", order_by=newest) == ["1.2", "1.1"]
    assert found(f"name IN ('{one}', '{two}')", order_by=["name", "version_number ASC"]) == ["1.1", "1.2", "2.1"]
    assert sorted(found(f"run_id = '{RUN}'")) == ["1.2", "2.1"]
    assert sorted(found(f"run_id LIKE '{RUN[:30]}%'")) == ["1.2", "2.1"]
    assert sorted(found(f"run_id ILIKE '{RUN[:30].upper()}%'")) == ["1.2", "2.1"]
    assert found(f"run_id IN ('{RUN.upper()}')") == found("source_path = ''") == []
    assert sorted(found(f"run_id IN ('{RUN}','{RUN[::-1]}')")) == ["1.1", "1.2", "2.1"]
    assert found(f"name = '{one}' AND version_number = 2") == ["1.2"]
    assert found(f"name = '{one}' AND version_number <= 1") == ["1.1"]
    assert found("source_path = 'A/D'") == ["2.1"]
    assert sorted(found("source_path LIKE 'A/%'")) == ["1.1", "1.2", "2.1"]
    assert found(f"name LIKE '{name}%' AND tags.t = 'y'") == ["2.1"]
    assert found(f"name = '{name}none'") == []
    assert found(f"name LIKE '{name}%'", order_by=["creation_timestamp ASC"]) == ["1.1", "1.2", "2.1"]
    page = either_registry.search_model_versions(f"name = '{one}'", max_results=1, order_by=newest)
    rest = either_registry.search_model_versions(
        f"name = '{one}'", max_results=1, order_by=newest, page_token=page.token
    )
    assert ([int(each.version) for each in [*page, *rest]], rest.token) == ([2, 1], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run_id != 'x", "Invalid filter|Invalid clause|Parameter value"),
        ("version_number = 'x'", "Invalid|Expected|numeric"),
        ("status = 'READY'", "Invalid attribute"),
        ("source_path IN ('a')", r"Invalid comparator|Only \["),
    ],
)
def test_a_filter_of_versions_with_a_mistake_is_refused(either_registry: Any, text: str, message: str) -> None:
    with pytest.raises(MlflowException, match=message) as raised:
        either_registry.search_model_versions(text)
    assert code(raised) == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("order", ["run_id", "version_number DSC", "name, name"])
def test_an_order_of_versions_with_a_mistake_is_refused(either_registry: Any, order: str) -> None:
    with pytest.raises(MlflowException, match="Invalid"):
        either_registry.search_model_versions("name = 'x'", order_by=[order])


def test_a_version_is_copied_to_a_model_that_is_made_for_it(either_registry: Any, model: str) -> None:
    made = either_registry.create_model_version(
        model, "s3://x/y", RUN, [ModelVersionTag("k", "v")], description="original"
    )
    copy = either_registry.copy_model_version(made, f"{model}copy")
    assert (copy.name, int(copy.version), copy.current_stage) == (f"{model}copy", 1, "None")
    assert (copy.tags, copy.description, copy.run_id) == ({"k": "v"}, "original", RUN)
    assert copy.source == f"models:/{model}/1"
    assert either_registry.get_model_version_download_uri(copy.name, 1) == "s3://x/y"
    again = either_registry.copy_model_version(copy, f"{model}copy")
    assert int(again.version) == 2


def test_a_version_of_a_version_has_the_tags_that_were_asked_for(either_registry: Any, model: str) -> None:
    either_registry.create_model_version(model, "s3://x/y", RUN, [ModelVersionTag("k", "v")], description="original")
    made = either_registry.create_model_version(model, f"models:/{model}/1", tags=[ModelVersionTag("new", "1")])
    found = either_registry.get_model_version(model, made.version)
    assert (found.tags, found.description) == ({"new": "1"}, None)
    assert either_registry.get_model_version_download_uri(model, 2) == "s3://x/y"
    with pytest.raises(MlflowException, match="Unable to fetch model from model URI source artifact location"):
        either_registry.create_model_version(model, f"models:/{model}/99")
