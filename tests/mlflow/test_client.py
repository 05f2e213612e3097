"""MLflow's client and its fluent API, unchanged, over Fivefold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.models import Model, infer_signature
from sklearn.linear_model import LogisticRegression

FRAME = pd.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0)[::-1]})
LABELS = np.arange(20) > 9
QUICK = {"pip_requirements": ["scikit-learn"]}  # which takes MLflow long to find out by itself


@pytest.fixture
def experiment(client: MlflowClient, name: str) -> str:
    return mlflow.set_experiment(name).experiment_id


@pytest.fixture
def logged(client: MlflowClient, experiment: str) -> Any:
    """What `log_model` returned for a model that was trained in a run."""
    with mlflow.start_run():
        fitted = LogisticRegression().fit(FRAME, LABELS)
        return mlflow.sklearn.log_model(
            fitted, name="model", signature=infer_signature(FRAME, LABELS), input_example=FRAME.head(2), **QUICK
        )


def test_without_an_experiment_runs_go_to_the_default_one(client: MlflowClient) -> None:
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    assert run.info.experiment_id == "0"
    assert client.get_experiment("0").name == "Default"
    assert run.info.run_id in set(mlflow.search_runs(filter_string="metrics.m = 1").run_id)


def test_a_run_is_logged_with_everything(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run(run_name="outer", description="a note", tags={"team": "a"}) as run:
        mlflow.log_params({"depth": 4, "rate": 0.1})
        mlflow.log_metrics({"loss": 0.5, "acc": 0.75}, step=3)
        mlflow.log_metric("loss", 0.25, step=4, timestamp=1_700_000_000_000)
        mlflow.set_tags({"a": 1, "b": True})
        with mlflow.start_run(nested=True, run_name="inner") as inner:
            mlflow.log_param("depth", 5)
        with pytest.raises(MlflowException, match="Changing param values is not allowed"):
            mlflow.log_param("depth", 6)
    found = client.get_run(run.info.run_id)
    assert (found.info.run_name, found.info.status) == ("outer", "FINISHED")
    assert found.info.end_time >= found.info.start_time
    assert found.data.params == {"depth": "4", "rate": "0.1"}
    assert found.data.metrics == {"loss": 0.25, "acc": 0.75}
    assert {"team": "a", "a": "1", "b": "True", "mlflow.note.content": "a note"}.items() <= found.data.tags.items()
    assert found.data.tags["mlflow.source.type"] == "LOCAL"
    children = mlflow.search_runs(filter_string=f"tags.mlflow.parentRunId = '{run.info.run_id}'", output_format="list")
    assert [each.info.run_id for each in children] == [inner.info.run_id]
    assert client.get_parent_run(inner.info.run_id).info.run_id == run.info.run_id
    assert mlflow.last_active_run().info.run_id == run.info.run_id
    with mlflow.start_run(run.info.run_id):
        mlflow.log_metric("after", 1)
    client.delete_tag(run.info.run_id, "a")
    assert "a" not in client.get_run(run.info.run_id).data.tags


def test_a_run_that_raises_has_failed(client: MlflowClient, experiment: str) -> None:
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as run:
        raise ZeroDivisionError
    assert client.get_run(run.info.run_id).info.status == "FAILED"


def test_a_frame_has_a_row_for_each_run(client: MlflowClient, experiment: str) -> None:
    for depth in (3, 1, 2):
        with mlflow.start_run():
            mlflow.log_param("depth", depth)
            mlflow.log_metric("loss", depth / 10)
    frame = mlflow.search_runs(order_by=["metrics.loss ASC"], filter_string="metrics.loss > 0.15")
    assert list(frame["params.depth"]) == ["2", "3"]
    assert set(frame.status) == {"FINISHED"}
    assert str(frame.start_time.dtype).startswith("datetime64")
    assert list(mlflow.search_runs(experiment_ids=[experiment], max_results=2).shape)[:1] == [2]
    assert len(mlflow.search_runs(search_all_experiments=True, max_results=1)) == 1


def test_what_is_logged_asynchronously_arrives(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run() as run:
        operations = [mlflow.log_metric("m", step, step=step, synchronous=False) for step in range(200)]
        mlflow.log_params({"p": 1}, synchronous=False)
        mlflow.set_tag("t", "v", synchronous=False)
        client.log_batch(run.info.run_id, metrics=[Metric("n", 2.0, 1, 0)], synchronous=False).wait()
        for operation in operations:
            operation.wait()
    mlflow.flush_async_logging()
    found = client.get_run(run.info.run_id).data
    assert (found.params, found.tags["t"], found.metrics) == ({"p": "1"}, "v", {"m": 199.0, "n": 2.0})
    assert [each.step for each in client.get_metric_history(run.info.run_id, "m")] == list(range(200))


def test_a_dataset_is_an_input(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(FRAME, name="frame", targets="y"), context="training")
    used = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert [(each.dataset.name, each.tags[0].value) for each in used] == [("frame", "training")]
    assert mlflow.data.get_source(used[0]) is not None
    assert len(mlflow.search_runs(filter_string="dataset.name = 'frame' AND dataset.context = 'training'")) == 1


def test_system_metrics_are_logged(client: MlflowClient, experiment: str) -> None:
    mlflow.set_system_metrics_sampling_interval(0.1)
    mlflow.set_system_metrics_samples_before_logging(1)
    try:
        with mlflow.start_run(log_system_metrics=True) as run:
            for _ in range(100):
                time.sleep(0.1)
                found = client.get_run(run.info.run_id).data.metrics
                if "system/cpu_utilization_percentage" in found:
                    break
    finally:
        mlflow.set_system_metrics_sampling_interval(None)
        mlflow.set_system_metrics_samples_before_logging(None)
    assert "system/cpu_utilization_percentage" in found


def test_experiments_are_found_deleted_and_restored(client: MlflowClient, experiment: str, name: str) -> None:
    mlflow.set_experiment_tags({"k": "v"})
    assert mlflow.get_experiment_by_name(name).tags["k"] == "v"
    mlflow.delete_experiment(experiment)
    with pytest.raises(MlflowException, match="Cannot set a deleted experiment"):
        mlflow.set_experiment(name)
    found = mlflow.search_experiments(view_type=ViewType.DELETED_ONLY, filter_string=f"name = '{name}'")
    assert [each.experiment_id for each in found] == [experiment]
    client.restore_experiment(experiment)
    assert mlflow.set_experiment(name).experiment_id == experiment


def test_a_batch_through_the_client_is_one_write(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    client.log_batch(run, [Metric("m", 1.0, 1, 0)], [Param("p", "1")], [RunTag("t", "1")])
    with pytest.raises(MlflowException, match="Names may only contain"):
        client.log_batch(run, [Metric("n", 1.0, 1, 0)], [Param("bad?", "1")], [])
    assert client.get_run(run).data.metrics == {"m": 1.0}
    client.set_terminated(run, "KILLED", 1_800_000_000_000)
    assert client.get_run(run).info.end_time == 1_800_000_000_000
    client.update_run(run, status="RUNNING", name="again")
    assert client.get_run(run).info.run_name == "again"


# Logged models


def test_a_logged_model_is_loaded_by_every_uri(client: MlflowClient, logged: Any, tmp_path: Path) -> None:
    run = logged.run_id
    for uri in (f"models:/{logged.model_id}", f"runs:/{run}/model", logged.model_uri, logged.artifact_path):
        assert (mlflow.sklearn.load_model(uri).predict(FRAME) == LABELS).all(), uri
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    assert (loaded.predict(FRAME) == LABELS).all()
    assert loaded.metadata.run_id == run
    assert Model.load(logged.model_uri).signature == infer_signature(FRAME, LABELS)
    local = mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(tmp_path))
    assert (Path(local) / "MLmodel").is_file()
    assert "MLmodel" in [each.path.rpartition("/")[2] for each in client.list_artifacts(run, "model")]


def test_a_logged_model_knows_its_run_and_the_run_its_model(client: MlflowClient, logged: Any) -> None:
    model = mlflow.get_logged_model(logged.model_id)
    assert (model.name, model.source_run_id, model.status) == ("model", logged.run_id, LoggedModelStatus.READY)
    run = client.get_run(logged.run_id)
    assert [each.model_id for each in run.outputs.model_outputs] == [logged.model_id]
    assert model.artifact_location.endswith(f"/models/{logged.model_id}/artifacts")
    with mlflow.start_run() as other:
        mlflow.log_metric("auc", 0.9, model_id=logged.model_id, dataset=mlflow.data.from_pandas(FRAME, name="eval"))
    metric = mlflow.get_logged_model(logged.model_id).metrics[0]
    assert (metric.key, metric.value, metric.dataset_name) == ("auc", 0.9, "eval")
    assert (metric.run_id, metric.model_id) == (other.info.run_id, logged.model_id)


def test_logged_models_are_created_changed_searched_and_deleted(client: MlflowClient, experiment: str) -> None:
    made = {}
    for name, auc in (("a", 0.7), ("b", 0.9), ("c", None)):
        model = mlflow.initialize_logged_model(name, params={"p": name}, tags={"t": name}, model_type="test")
        assert model.status == LoggedModelStatus.PENDING
        made[name] = model.model_id
        if auc:
            with mlflow.start_run():
                mlflow.log_metric("auc", auc, model_id=model.model_id)
    assert mlflow.finalize_logged_model(made["a"], "READY").status == LoggedModelStatus.READY
    mlflow.set_logged_model_tags(made["a"], {"u": "1", "t": "z"})
    mlflow.delete_logged_model_tag(made["a"], "u")
    mlflow.log_model_params({"q": "2"}, model_id=made["a"])
    found = mlflow.get_logged_model(made["a"])
    assert (found.tags["t"], "u" in found.tags, found.params) == ("z", False, {"p": "a", "q": "2"})
    with pytest.raises(MlflowException, match="No tag with key 'u' found for model with ID") as raised:
        mlflow.delete_logged_model_tag(made["a"], "u")
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"

    def search(text: str | None = None, **more: Any) -> str:
        listed = mlflow.search_logged_models([experiment], text, output_format="list", **more)
        return "".join(each.name for each in listed)

    assert search() == "cba"
    assert search("name = 'a'") == search("attributes.name = 'a'") == "a"
    assert search("metrics.auc > 0.8") == "b"
    assert search("params.p = 'c' AND tags.t = 'c'") == "c"
    assert search("status = 'READY'") == "a"
    by_auc = [{"field_name": "metrics.auc", "ascending": False}]
    assert search(order_by=by_auc) == "bac"
    assert search(order_by=[{"field_name": "name"}], max_results=2) == "ab"
    first = client.search_logged_models([experiment], max_results=2)
    assert [each.name for each in client.search_logged_models([experiment], page_token=first.token)] == ["a"]
    with pytest.raises(MlflowException, match="Invalid order by field name"):
        search(order_by=[{"field_name": "params.p"}])
    client.delete_logged_model(made["b"])
    assert search() == "ca"
    with pytest.raises(MlflowException, match=f"Logged model with ID '{made['b']}' not found") as raised:
        mlflow.get_logged_model(made["b"])
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_models_are_found_by_the_dataset_that_they_were_measured_on(client: MlflowClient, experiment: str) -> None:
    test, train = (mlflow.data.from_pandas(FRAME * k, name=n) for k, n in ((1, "test"), (2, "train")))
    for name, data, auc in (("a", test, 0.7), ("b", test, 0.9), ("c", train, 0.8)):
        model = mlflow.create_external_model(name=name)
        with mlflow.start_run():
            mlflow.log_metric("auc", auc, model_id=model.model_id, dataset=data)

    def search(text: str | None = None, **more: Any) -> str:
        listed = mlflow.search_logged_models([experiment], text, output_format="list", **more)
        return "".join(each.name for each in listed)

    assert search("metrics.auc > 0.75", datasets=[{"dataset_name": "test"}]) == "b"
    assert search(datasets=[{"dataset_name": "test"}]) == "ba"
    assert search(datasets=[{"dataset_name": "test", "dataset_digest": "other"}]) == ""
    order = [{"field_name": "metrics.auc", "ascending": True, "dataset_name": "test"}]
    assert search(order_by=order)[:2] == "ab"


def test_more_params_than_a_call_takes_are_logged(client: MlflowClient, experiment: str) -> None:
    params = {f"p{i}": str(i) for i in range(700)}
    model = mlflow.initialize_logged_model("many", params=params)
    assert mlflow.get_logged_model(model.model_id).params == params


# The registry


@pytest.fixture
def registered(client: MlflowClient, logged: Any, name: str) -> Iterator[str]:
    mlflow.register_model(logged.model_uri, name, tags={"k": "v"})
    yield name


def test_a_registered_model_is_loaded_by_version_stage_and_alias(
    client: MlflowClient, registered: str, logged: Any
) -> None:
    found = client.get_model_version(registered, "1")
    assert (found.status, found.run_id, found.model_id) == ("READY", logged.run_id, logged.model_id)
    assert (found.source, found.tags) == (f"models:/{logged.model_id}", {"k": "v"})
    client.transition_model_version_stage(registered, "1", "Production")
    client.set_registered_model_alias(registered, "champion", 1)
    for reference in ("/1", "/Production", "@champion", "/latest"):
        loaded = mlflow.pyfunc.load_model(f"models:/{registered}{reference}")
        assert (loaded.predict(FRAME) == LABELS).all(), reference
    assert client.get_model_version_download_uri(registered, "1").endswith(f"/models/{registered}/versions/1")


def test_a_registered_version_has_files_of_its_own(client: MlflowClient, registered: str, logged: Any) -> None:
    client.delete_logged_model(logged.model_id)
    client.delete_run(logged.run_id)
    assert (mlflow.sklearn.load_model(f"models:/{registered}/1").predict(FRAME) == LABELS).all()
    listed = mlflow.artifacts.list_artifacts(f"models:/{registered}/1")
    assert {"MLmodel", "requirements.txt"} <= {each.path for each in listed}
    text = mlflow.artifacts.load_text(f"models:/{registered}/1/MLmodel")
    assert "python_function" in text
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(client.get_model_version_download_uri(registered, "1"))
    with pytest.raises(MlflowException, match="cannot change"):
        repository.log_artifacts(".")


def test_a_model_is_registered_while_it_is_logged(client: MlflowClient, experiment: str, name: str) -> None:
    with mlflow.start_run() as run:
        fitted = LogisticRegression().fit(FRAME, LABELS)
        info = mlflow.sklearn.log_model(fitted, name="model", registered_model_name=name, **QUICK)
    assert info.registered_model_version == "1"
    found = client.get_model_version(name, "1")
    assert found.run_id == run.info.run_id
    versions = mlflow.get_logged_model(info.model_id).tags["mlflow.modelVersions"]
    assert name in versions


def test_the_files_of_a_run_are_registered(client: MlflowClient, experiment: str, name: str, tmp_path: Path) -> None:
    mlflow.sklearn.save_model(LogisticRegression().fit(FRAME, LABELS), str(tmp_path / "saved"), **QUICK)
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(tmp_path / "saved"), "old/model")
    made = mlflow.register_model(f"runs:/{run.info.run_id}/old/model", name)
    assert made.source == f"{run.info.artifact_uri}/old/model"
    assert made.run_id == run.info.run_id
    assert client.get_model_version(name, made.version).source == made.source
    client.delete_run(run.info.run_id)
    assert (mlflow.sklearn.load_model(f"models:/{name}/1").predict(FRAME) == LABELS).all()


def test_a_model_of_another_place_is_registered_by_its_address(client: MlflowClient, name: str, tmp_path: Path) -> None:
    mlflow.sklearn.save_model(LogisticRegression().fit(FRAME, LABELS), str(tmp_path / "saved"), **QUICK)
    mlflow.register_model((tmp_path / "saved").as_uri(), name)
    assert (mlflow.sklearn.load_model(f"models:/{name}/1").predict(FRAME) == LABELS).all()


def test_a_version_is_copied(client: MlflowClient, registered: str, logged: Any) -> None:
    copy = client.copy_model_version(f"models:/{registered}/1", f"{registered}-prod")
    assert (copy.name, int(copy.version), copy.tags) == (f"{registered}-prod", 1, {"k": "v"})
    assert copy.run_id == logged.run_id
    again = mlflow.register_model(f"models:/{registered}/1", f"{registered}-prod")
    assert int(again.version) == 2
    client.delete_registered_model(registered)
    assert (mlflow.sklearn.load_model(f"models:/{registered}-prod/2").predict(FRAME) == LABELS).all()


def test_a_source_that_does_not_exist_is_refused(client: MlflowClient, experiment: str, name: str) -> None:
    run = client.create_run(experiment).info
    client.create_registered_model(name)
    for source in (f"{run.artifact_uri}/nothing", f"runs:/{'f' * 32}/model"):
        with pytest.raises(MlflowException) as raised:
            client.create_model_version(name, source)
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert client.search_model_versions(f"name = '{name}'") == []


def test_a_version_in_production_is_not_deleted(client: MlflowClient, registered: str) -> None:
    client.transition_model_version_stage(registered, 1, "Production")
    for call in (
        lambda: client.delete_model_version(registered, 1),
        lambda: client.delete_registered_model(registered),
        lambda: client.rename_registered_model(registered, f"{registered}x"),
    ):
        with pytest.raises(MlflowException, match=r"Production|Staging") as raised:
            call()
        assert raised.value.error_code == "INVALID_STATE"
