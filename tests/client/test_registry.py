"""The SDK's registry against real services: how models and versions are named, found, changed, copied and fetched."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

import fivefold
from fivefold.sdk import names
from fivefold.sdk.client import Client
from fivefold.sdk.hints import BY_NAME
from fivefold.sdk.registry import ActivityHead, Event, Registry
from fivefold.sdk.transport import Access, Transport

Make = Callable[..., str]


@pytest.fixture
def registry(client: Client) -> Registry:
    return client.registry


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model's name that no other test uses."""
    return str(request.node.name).replace("_", "-").replace("[", "-").replace("]", "")[-120:]


@pytest.fixture
def make(registry: Registry, model: str, tmp_path: Path) -> Make:
    """Makes the next version of the model, from a folder here; returns its short name."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.txt").write_text("a model")
    (folder / "data").mkdir()
    (folder / "data" / "example.json").write_text("{}")

    def version(**fields: object) -> str:
        registry.create_model(model, allow_existing=True)
        return names.short(registry.create_version(model, folder, **fields).name)  # type: ignore[arg-type]

    return version


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("churn/3", names.Reference("models/churn", number=3)),
        ("models/churn/versions/3", names.Reference("models/churn", number=3)),
        ("models:/churn/3", names.Reference("models/churn", number=3)),
        ("churn@champion", names.Reference("models/churn", alias="champion")),
        ("models:/churn@champion", names.Reference("models/churn", alias="champion")),
        ("models/churn/aliases/champion", names.Reference("models/churn", alias="champion")),
        ("a@b@champion", names.Reference("models/a@b", alias="champion")),
        ("a@b/3", names.Reference("models/a@b", number=3)),
        ("churn/Production", names.Reference("models/churn", stage="Production")),
        ("churn/latest", names.Reference("models/churn", stage="latest")),
        ("churn/under review", names.Reference("models/churn", stage="under review")),
    ],
)
def test_a_version_is_named_in_every_way_that_people_write(text: str, meant: names.Reference) -> None:
    assert names.reference(text) == meant


@pytest.mark.parametrize("text", ["", "churn", "churn/", "/3", "@champion", "churn@", "models/churn/versions/x", None])
def test_what_names_no_version_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(fivefold.InvalidArgument, match="MODEL/NUMBER, MODEL@ALIAS or MODEL/STAGE"):
        names.reference(text)


@pytest.mark.parametrize("text", ["churn/3/x", "churn/3", "churn/3/7/9", "models/churn/versions/3/comments/7", ""])
def test_what_names_no_request_is_refused(text: str) -> None:
    assert names.below("requests", "churn/3/7") == "models/churn/versions/3/requests/7"
    assert names.below("requests", "models/churn/versions/3/requests/7") == "models/churn/versions/3/requests/7"
    with pytest.raises(fivefold.InvalidArgument, match="MODEL/NUMBER/NUMBER"):
        names.below("requests", text)


def test_a_folder_here_becomes_a_version_by_way_of_a_run(registry: Registry, client: Client, make: Make) -> None:
    version = registry.get_version(make(description="first", tags={"reviewed": "yes"}))
    assert (version.status, version.stage, version.description) == ("READY", "None", "first")
    assert [file.path for file in version.files] == ["data/example.json", "model.txt"]
    assert version.lineage.run == "/".join(version.source.split("/")[:2])
    assert client.tracking.get_run(version.lineage.run).status == "FINISHED"


def test_a_folder_without_files_is_refused_before_a_run_is_made(registry: Registry, tmp_path: Path) -> None:
    registry.create_model("sdk-empty")
    with pytest.raises(fivefold.InvalidArgument, match="no folder with files") as caught:
        registry.create_version("sdk-empty", tmp_path)
    assert caught.value.reason == "SOURCE_INVALID"
    alone = Registry(Transport("registry", "127.0.0.1:9", Access()))
    with pytest.raises(fivefold.InvalidArgument, match="does not know"):
        alone.create_version("sdk-empty", tmp_path)


def test_mlflow_s_form_of_a_source_is_understood(registry: Registry, make: Make, model: str) -> None:
    first = registry.get_version(make())
    run = first.lineage.run.removeprefix("runs/")
    again = registry.create_version(model, f"runs:/{run}/model")
    assert (again.version, again.source, again.digest) == (2, first.source, first.digest)


def test_a_version_of_a_model_that_is_not_there_says_how_to_register_it(registry: Registry) -> None:
    with pytest.raises(fivefold.NotFound) as caught:
        registry.create_version("sdk nobody", external_uri="s3://bucket/model")
    assert caught.value.hint == "register the model first: `fivefold models create 'sdk nobody'`"


def test_versions_are_found_by_number_stage_and_alias(registry: Registry, make: Make, model: str) -> None:
    one, two = make(), make()
    registry.transition(one, "production")
    registry.set_alias(two, "champion")
    assert registry.get_version(model, 1).name == registry.get_version(one).name
    assert registry.get_version(model, stage="PRODUCTION").version == 1
    assert registry.get_version(f"{model}/Production").version == 1
    assert registry.get_version(f"{model}/latest").version == 2
    assert registry.get_version(model, alias="champion").aliases == ("champion",)
    assert registry.get_version(f"models:/{model}@champion").version == 2
    with pytest.raises(fivefold.NotFound, match="has no version in Staging") as caught:
        registry.get_version(model, stage="Staging")
    assert caught.value.hint == f"see those that it has with `fivefold models versions {model}`"
    with pytest.raises(fivefold.InvalidArgument, match="one of version, stage and alias"):
        registry.get_version(model, 1, alias="champion")


def test_an_alias_moves_and_goes_and_a_call_takes_it_in_place_of_a_number(
    registry: Registry, make: Make, model: str
) -> None:
    one, two = make(), make()
    registry.set_alias(one, "champion")
    assert registry.set_alias(two, "champion").aliases == ("champion",)
    assert registry.get_model(model).aliases == {"champion": 2}
    assert registry.transition(f"{model}@champion", "Staging").model_version.version == 2
    assert registry.set_alias(f"{model}/Staging", "tested").version == 2
    registry.delete_alias(model, "champion")
    with pytest.raises(fivefold.NotFound) as caught:
        registry.get_version(f"{model}@champion")
    assert caught.value.hint == f"see those that there are with `fivefold models alias {model}`"
    for refused in ("latest", "v3", "a b"):
        with pytest.raises(fivefold.InvalidArgument) as wrong:
            registry.set_alias(one, refused)
        assert wrong.value.reason == "NAME_INVALID"


def test_a_model_s_own_stage_names_are_understood_wherever_a_stage_is_named(
    registry: Registry, make: Make, model: str
) -> None:
    version = make()
    registry.set_policy(model, stage_names={"Production": "Live", "Staging": "Under review"})
    moved = registry.transition(version, "live").model_version
    assert (moved.stage, moved.stage_name) == ("Production", "Live")
    assert registry.list_versions(model, stages=["LIVE"])[0].version == 1
    assert registry.get_version(f"{model}/Live").version == 1
    assert registry.stage_at(model, "live")[0].model_version == moved.name
    assert registry.request_transition(version, "under review").stage == "Staging"
    with pytest.raises(fivefold.InvalidArgument, match="None, Staging, Production, Archived, Under review, Live"):
        registry.transition(version, "Prod")


def test_rules_change_one_by_one_and_others_stay(registry: Registry, model: str) -> None:
    registry.create_model(model, one_production=True, stage_names={"Production": "Live"})
    registry.set_policy(model, stepwise=True)
    kept = registry.set_policy(model, stage_names={"Staging": "Test"}).policy
    assert (kept.one_production, kept.stepwise, kept.no_self_approval) == (True, True, False)
    assert kept.stage_names == {"Production": "Live", "Staging": "Test"}
    left = registry.set_policy(model, one_production=False, stage_names={"Production": ""}).policy
    assert (left.one_production, left.stage_names) == (False, {"Staging": "Test"})


def test_a_description_and_single_tags_change_and_others_stay(registry: Registry, make: Make, model: str) -> None:
    version = make(tags={"a": "1", "b": "2"})
    changed = registry.update_version(version, description="better", tags={"a": None, "key.with dots": "3"})
    assert (changed.description, changed.tags) == ("better", {"b": "2", "key.with dots": "3"})
    assert registry.update_model(model, tags={"team": "growth"}).tags == {"team": "growth"}
    assert registry.update_model(model, description="of leaving").tags == {"team": "growth"}
    assert registry.update_model(model, tags={"team": None}).description == "of leaving"
    with pytest.raises(fivefold.InvalidArgument, match="nothing to change"):
        registry.update_model(model)
    with pytest.raises(fivefold.Aborted):
        registry.update_version(version, description="late", etag="0-stale")


def test_models_and_versions_are_searched_and_a_wrong_filter_is_shown_its_place(
    registry: Registry, make: Make, model: str
) -> None:
    one = make(tags={"reviewed": "yes"})
    make()
    registry.update_model(model, tags={"team": model})
    assert [found.name for found in registry.search_models(f"tags.team = '{model}'")] == [f"models/{model}"]
    found = registry.search_versions(f"name = '{model}' AND tags.reviewed = 'yes'")
    assert [names.short(version.name) for version in found] == [one]
    ordered = registry.search_versions(model=model, order_by="version ASC")
    assert [version.version for version in ordered] == [1, 2]
    with pytest.raises(fivefold.InvalidArgument) as caught:
        registry.search_models("nme = 'x'")
    assert caught.value.reason == "FILTER_INVALID"
    assert "'nme' is no field" in caught.value.message
    assert "tags.team = 'growth'" in caught.value.hint


def test_what_is_in_production_everywhere_is_one_search(registry: Registry, make: Make, model: str) -> None:
    assert model not in [version.name.split("/")[1] for version in registry.production()]
    registry.transition(make(), "Production")
    assert [version.version for version in registry.production() if version.name.split("/")[1] == model] == [1]


def test_what_was_in_a_stage_when_and_who_put_it_there(registry: Registry, make: Make, model: str) -> None:
    one, two = make(), make()
    before = datetime.now(UTC)
    registry.transition(one, "Production")
    between = datetime.now(UTC)
    registry.transition(two, "Production", archive_existing=True)
    assert registry.stage_at(model, "Production", before) == []
    (then,) = registry.stage_at(model, "Production", between)
    assert (names.short(then.model_version), then.user) == (one, "local")
    assert then.since is not None and before <= then.since <= between
    assert [names.short(now.model_version) for now in registry.stage_at(model)] == [two]
    with pytest.raises(fivefold.InvalidArgument, match="no time zone"):
        registry.stage_at(model, "Production", datetime(2026, 1, 1))


def test_a_copy_keeps_what_the_version_is(registry: Registry, make: Make, model: str) -> None:
    source = registry.get_version(make(description="first", tags={"a": "1"}))
    with pytest.raises(fivefold.NotFound) as caught:
        registry.copy_version(source.name, f"{model}-copy")
    assert "create_model=True" in caught.value.hint
    copy = registry.copy_version(source.name, f"{model}-copy", create_model=True)
    assert (copy.version, copy.copied_from, copy.digest) == (1, source.name, source.digest)
    assert (copy.description, copy.tags, copy.stage) == ("first", {"a": "1"}, "None")


def test_a_download_goes_on_where_it_stopped_and_repairs_what_is_damaged(
    registry: Registry, make: Make, tmp_path: Path
) -> None:
    version = make()
    moved: list[tuple[str, int, int]] = []
    folder = registry.download(version, tmp_path / "files", progress=lambda *step: moved.append(step))
    assert {("model.txt", 7, 7), ("data/example.json", 2, 2)} <= set(moved)
    good, damaged = folder / "model.txt", folder / "data" / "example.json"
    stamp = good.stat().st_mtime_ns
    damaged.write_text("[]")
    registry.download(version, folder)
    assert good.stat().st_mtime_ns == stamp
    assert (good.read_text(), damaged.read_text()) == ("a model", "{}")


def test_a_version_that_is_elsewhere_says_where_instead_of_fetching(
    registry: Registry, model: str, tmp_path: Path
) -> None:
    registry.create_model(model)
    made = registry.create_version(model, external_uri="s3://bucket/model")
    assert (made.status, made.external_uri, made.files) == ("READY", "s3://bucket/model", ())
    with pytest.raises(fivefold.FailedPrecondition, match="no files here") as caught:
        registry.download(made.name, tmp_path)
    assert caught.value.hint == "its files are at s3://bucket/model"


def test_a_model_is_renamed_and_deleted_only_when_nothing_of_it_is_in_use(
    registry: Registry, make: Make, model: str
) -> None:
    version = make()
    registry.transition(version, "Staging")
    for refused in (
        lambda: registry.rename_model(model, f"{model}-2"),
        lambda: registry.delete_model(model),
        lambda: registry.delete_version(version),
    ):
        with pytest.raises(fivefold.FailedPrecondition) as caught:
            refused()
        assert caught.value.reason == "VERSION_IN_USE"
        assert f"fivefold models transition {model}/" in caught.value.hint
    registry.transition(version, "Archived")
    renamed = registry.rename_model(model, f"{model}-2")
    assert registry.activities(renamed.name)[-1].to_stage == "Archived"
    registry.delete_version(f"{renamed.name}/versions/1")
    registry.delete_model(renamed.name)
    with pytest.raises(fivefold.NotFound) as gone:
        registry.get_model(renamed.name)
    assert gone.value.hint == "see those that you may read with `fivefold models list`"


def test_comments_are_changed_and_deleted_by_their_short_name(registry: Registry, make: Make) -> None:
    said = registry.comment(make(), "good")
    short = names.short(said.name)
    changed = registry.edit_comment(short, "better")
    assert (changed.text, changed.author) == ("better", "local")
    assert changed.create_time == said.create_time != changed.update_time
    assert [one.text for one in registry.comments(short.rpartition("/")[0])] == ["better"]
    registry.delete_comment(said.name)
    assert registry.comments(short.partition("/")[0]) == []
    kinds = [activity.type for activity in registry.activities(short.rpartition("/")[0])]
    assert kinds == ["NEW_COMMENT", "EDITED_COMMENT", "DELETED_COMMENT"]


def test_a_history_is_proved_and_an_expected_head_is_held_against_it(
    registry: Registry, make: Make, model: str
) -> None:
    version = make()
    registry.transition(version, "Staging")
    report = registry.verify_activities(model)
    assert report and report.count == 1
    kept = str(report.head)
    registry.comment(version, "more happens")
    assert registry.verify_activities(model, kept)
    assert "2 activities were checked, all are as they were written" in str(registry.verify_activities(model))
    other = registry.verify_activities(model, ActivityHead(1, "0" * 64))
    assert not other and other.fault == "RECOMPUTED"
    assert str(other).startswith(f"models/{model}: activity ")
    cut = registry.verify_activities(model, ActivityHead(9, "0" * 64))
    assert not cut and cut.fault == "CUT"
    with pytest.raises(fivefold.InvalidArgument, match="must be NUMBER:HASH"):
        registry.verify_activities(model, "junk")


def test_grants_are_given_and_taken_one_by_one(registry: Registry, model: str) -> None:
    registry.create_model(model)
    registry.grant(model, "ana", "edit")
    given = registry.grant(model, "group:science", "CAN_READ")
    assert given.grants == {"local": "CAN_MANAGE", "ana": "CAN_EDIT", "group:science": "CAN_READ"}
    assert registry.revoke(model, "ana").grants == {"local": "CAN_MANAGE", "group:science": "CAN_READ"}
    with pytest.raises(fivefold.NotFound, match="ana has no grant"):
        registry.revoke(model, "ana")
    with pytest.raises(fivefold.InvalidArgument, match="somebody with CAN_MANAGE"):
        registry.revoke(model, "local")
    with pytest.raises(fivefold.InvalidArgument, match="CAN_MANAGE_STAGING_VERSIONS"):
        registry.grant(model, "ana", "boss")


def test_grants_and_rules_that_several_people_change_at_once_are_all_kept(registry: Registry, model: str) -> None:
    registry.create_model(model)
    people = [f"person-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda who: registry.grant(model, who, "read"), people))
        rules = ({"one_production": True}, {"stepwise": True}, {"no_self_approval": True})
        list(pool.map(lambda rule: registry.set_policy(model, **rule), rules))
    assert set(registry.permissions(model).grants) == {"local", *people}
    kept = registry.get_model(model).policy
    assert (kept.one_production, kept.stepwise, kept.no_self_approval) == (True, True, True)


def test_a_watch_of_what_is_new_begins_now(registry: Registry, make: Make, model: str) -> None:
    version = make()
    events = registry.watch(models=[model], only_new=True)
    found: list[Event] = []
    reader = threading.Thread(target=lambda: found.append(next(events)))
    reader.start()
    for attempt in itertools.count():
        registry.set_alias(version, f"alias-{attempt}")
        reader.join(0.2)
        if not reader.is_alive():
            break
    assert found[0].type == "MODEL_ALIAS_SET"
    assert found[0].subject.startswith("alias-")
    with pytest.raises(fivefold.OutOfRange) as caught:
        next(registry.watch(10**12))
    assert "only_new=True" in caught.value.hint


def test_a_request_is_named_short_in_full_or_by_its_version(registry: Registry, make: Make, model: str) -> None:
    version = make()
    asked = registry.request_transition(version, "Staging", comment="please")
    assert asked.available_actions == ("APPROVE", "REJECT", "CANCEL")
    assert registry.reject(names.short(asked.name)).state == "REJECTED"
    again = registry.request_transition(f"{model}/latest", "Staging")
    assert registry.cancel(version).name == again.name
    with pytest.raises(fivefold.FailedPrecondition) as caught:
        registry.approve(again.name)
    assert caught.value.reason == "REQUEST_SETTLED"
    assert f"`fivefold models requests {version} --all`" in caught.value.hint
    first, second = (registry.request_transition(version, stage) for stage in ("Staging", "Production"))
    with pytest.raises(fivefold.FailedPrecondition, match="has 2 open requests") as several:
        registry.approve(version)
    assert names.short(first.name) in several.value.hint and names.short(second.name) in several.value.hint


def test_a_move_that_the_rules_forbid_is_told_what_would_help(registry: Registry, make: Make, model: str) -> None:
    one, two = make(), make()
    registry.set_policy(model, one_production=True)
    registry.transition(one, "Production")
    with pytest.raises(fivefold.FailedPrecondition, match="allows one") as taken:
        registry.transition(two, "Production")
    assert taken.value.hint == "archive_existing=True (--archive-existing) makes room"
    registry.transition(one, "Production")  # It stays.
    with pytest.raises(fivefold.FailedPrecondition) as there:
        registry.request_transition(one, "Production")
    assert there.value.hint.startswith("it is there already")
    registry.set_policy(model, stepwise=True)
    with pytest.raises(fivefold.FailedPrecondition, match="allowed: Staging, Archived") as forbidden:
        registry.transition(two, "Production")
    assert forbidden.value.hint == f"see the model's rules with `fivefold models show {model}`"


def test_a_logged_model_becomes_a_version_in_fivefold_s_name_and_in_mlflow_s(
    registry: Registry, client: Client, model: str, tmp_path: Path
) -> None:
    home = client.tracking.create_experiment(model).name
    logged = client.tracking.models.create(home)
    (tmp_path / "model.txt").write_text("a model")
    client.tracking.artifacts.put(logged.name, tmp_path / "model.txt")
    client.tracking.models.finalize(logged.name)
    registry.create_model(model)
    for source in (f"{logged.name}/artifacts", f"models:/{logged.name.removeprefix('logged_models/')}"):
        made = registry.create_version(model, source)
        assert (made.status, made.lineage.logged_model) == ("READY", logged.name)
        assert [file.path for file in made.files] == ["model.txt"]


def test_a_rollback_without_an_earlier_version_says_where_to_look(registry: Registry, model: str) -> None:
    registry.create_model(model)
    with pytest.raises(fivefold.FailedPrecondition) as caught:
        registry.roll_back(model)
    assert caught.value.hint == f"see what was where: `fivefold models history {model}`"


def test_hints_name_what_a_shell_takes_as_one_word(registry: Registry) -> None:
    with pytest.raises(fivefold.NotFound) as caught:
        registry.get_version("it's new/3")
    assert caught.value.hint == """see those that there are with `fivefold models versions 'it'"'"'s new'`"""
    assert len(BY_NAME) == len(set(BY_NAME.values()))
