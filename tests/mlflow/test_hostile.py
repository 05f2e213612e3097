"""Names, keys and texts that someone chose to break something."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.entities import ExperimentTag, Metric, Param, RunTag, ViewType
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from fivefold_mlflow.registry import RegistryStore
from fivefold_mlflow.tracking import TrackingStore

NAMES = [
    "it's",
    'say "no"',
    "`; DROP TABLE runs; --",
    "日本語 ünï 🎉",
    "a/b/../c",
    "%41%00",
    "x" * 250,
    "' OR name LIKE '%",
    "fivefold:// models:/x",
]


@pytest.mark.parametrize("text", NAMES)
def test_an_experiment_may_be_called_anything(store: TrackingStore, name: str, text: str) -> None:
    called = f"{text[:200]} {name}"
    number = store.create_experiment(called, tags=[ExperimentTag("k", text)])
    assert store.get_experiment_by_name(called).experiment_id == number
    store.delete_experiment(number)
    found = store.get_experiment_by_name(called)
    assert (found.experiment_id, found.lifecycle_stage, found.tags) == (number, "deleted", {"k": text})


@pytest.mark.parametrize("text", NAMES)
def test_values_are_kept_as_they_are(store: TrackingStore, name: str, text: str) -> None:
    experiment = store.create_experiment(name)
    run = store.create_run(experiment, text[:64], 1, [RunTag("t", text)], text[:200]).info.run_id
    store.log_batch(run, [], [Param("p", text)], [RunTag("u", text)])
    found = store.get_run(run)
    assert (found.data.params, found.data.tags["t"], found.data.tags["u"]) == ({"p": text}, text, text)
    assert (found.info.run_name, found.info.user_id) == (text[:200], text[:64])
    wish = f"params.p = '{text}'" if "'" not in text else f'params.p = "{text}"'
    assert [each.info.run_id for each in store.search_runs([experiment], wish, ViewType.ALL)] == [run]


@pytest.mark.parametrize("key", ["metrics.a b/c.d", "in", "desc", "ünï", "a:b", "a-b", "1", "_"])
def test_keys_that_mlflow_allows_are_found_and_ordered_by(store: TrackingStore, name: str, key: str) -> None:
    experiment = store.create_experiment(name)
    runs = []
    for value in (2.0, 1.0):
        run = store.create_run(experiment, "ada", 1, [RunTag(key, str(value))], None).info.run_id
        store.log_batch(run, [Metric(key, value, 1, 0)], [Param(key, str(value))], [])
        runs.append(run)
    for entity in ("metrics", "params", "tags"):
        found = store.search_runs([experiment], "", ViewType.ALL, order_by=[f"{entity}.`{key}` ASC"])
        assert [each.info.run_id for each in found] == runs[::-1]
    assert len(store.search_runs([experiment], f"metrics.`{key}` > 1", ViewType.ALL)) == 1
    assert len(store.get_metric_history(runs[0], key)) == 1
    store.delete_tag(runs[0], key)
    assert key not in store.get_run(runs[0]).data.tags


def test_text_that_no_database_keeps_is_refused(store: TrackingStore, models: RegistryStore) -> None:
    text = "a\0b"
    run = store.create_run("0", "ada", 1, [], None).info.run_id
    calls: list[Any] = [
        lambda: store.create_experiment(text),
        lambda: store.get_experiment_by_name(text),
        lambda: store.set_tag(run, RunTag("t", text)),
        lambda: store.log_param(run, Param("p", text)),
        lambda: store.create_run("0", "ada", 1, [], text),
        lambda: store.search_runs(["0"], f"params.p = '{text}'", ViewType.ALL),
        lambda: models.create_registered_model(text),
        lambda: models.get_registered_model(text),
    ]
    for call in calls:
        with pytest.raises(MlflowException) as raised:
            call()
        assert raised.value.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("text", ["it's", 'say "no"', "日本語 ünï 🎉", "a.b-c_d", "x" * 250, "' OR 1=1 --"])
def test_a_model_may_be_called_nearly_anything(models: RegistryStore, name: str, text: str) -> None:
    called = f"{name}{text}"[:200]
    models.create_registered_model(called, [RegisteredModelTag("k", text)])
    models.create_model_version(called, "s3://x/y", tags=[ModelVersionTag("k", text)])
    mark = '"' if "'" in called else "'"
    assert [each.name for each in models.search_registered_models(f"name = {mark}{called}{mark}")] == [called]
    assert [each.name for each in models.search_model_versions(f"name = {mark}{called}{mark}")] == [called]
    assert models.get_model_version(called, 1).tags == {"k": text}
    models.delete_registered_model(called)


@pytest.mark.parametrize("number", ["-1", "9" * 18, "9" * 40, -5])
def test_an_experiment_of_no_number_is_missing(store: TrackingStore, number: Any) -> None:
    with pytest.raises(MlflowException, match="No Experiment with id=") as raised:
        store.get_experiment(number)
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
