"""Files of runs, logged models and model versions through MLflow's own calls."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fivefold.sdk.errors import Unreachable
from fivefold_mlflow.connection import Connection
from fivefold_mlflow.failures import Failure
from fivefold_mlflow.tracking import TrackingStore


@pytest.fixture
def run(client: MlflowClient, name: str) -> str:
    return client.create_run(client.create_experiment(name)).info.run_id


def paths(client: MlflowClient, run: str, path: str | None = None) -> list[tuple[str, bool, int | None]]:
    repository = get_artifact_repository(client.get_run(run).info.artifact_uri)
    return [(each.path, each.is_dir, each.file_size) for each in repository.list_artifacts(path)]


def test_a_file_and_a_folder_come_back_as_they_were(client: MlflowClient, run: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.bin").write_bytes(bytes(range(256)))
    (folder / "deep" / "er" / "ü x.txt").write_text("")
    client.log_artifacts(run, str(folder), "in")
    client.log_artifact(run, str(folder / "a.txt"))
    assert paths(client, run) == [("a.txt", False, 1), ("in", True, None)]
    assert paths(client, run, "in") == [("in/a.txt", False, 1), ("in/deep", True, None)]
    assert paths(client, run, "in/a.txt") == paths(client, run, "nothing") == []
    got = Path(client.download_artifacts(run, "in", str(tmp_path)))
    assert {each.relative_to(got).as_posix() for each in got.rglob("*") if each.is_file()} == {
        "a.txt",
        "deep/b.bin",
        "deep/er/ü x.txt",
    }
    assert (got / "deep" / "b.bin").read_bytes() == bytes(range(256))
    assert Path(client.download_artifacts(run, "in/a.txt")).read_text() == "a"
    everything = Path(client.download_artifacts(run, ""))
    assert (everything / "in" / "deep" / "er" / "ü x.txt").read_text() == ""


def test_a_large_file_is_streamed_in_pieces(client: MlflowClient, run: str, tmp_path: Path) -> None:
    data = os.urandom(9 * (1 << 20) + 17)
    (tmp_path / "large.bin").write_bytes(data)
    client.log_artifact(run, str(tmp_path / "large.bin"), "sub/folder")
    got = Path(client.download_artifacts(run, "sub/folder/large.bin", str(tmp_path)))
    assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(data).digest()


def test_text_dicts_and_figures_are_logged(client: MlflowClient, run: str) -> None:
    with mlflow.start_run(run):
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"a": [1, 2]}, "d.json")
        mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "t.json")
        uri = mlflow.get_artifact_uri("notes")
    assert mlflow.artifacts.load_text(f"{uri}/hello.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{run}/d.json") == {"a": [1, 2]}
    assert [each.path for each in mlflow.artifacts.list_artifacts(f"runs:/{run}/notes")] == ["notes/hello.txt"]
    assert [each.path for each in client.list_artifacts(run, "notes")] == ["notes/hello.txt"]
    assert list(client.load_table(client.get_run(run).info.experiment_id, "t.json", run_ids=[run])["y"]) == ["a", "b"]


@pytest.mark.parametrize("path", ["../up", "/etc", "a/../../b", "a//b", "."])
def test_a_path_that_escapes_is_refused(client: MlflowClient, run: str, tmp_path: Path, path: str) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(MlflowException, match="Invalid artifact path"):
        client.log_artifact(run, str(tmp_path / "f"), path)
    assert paths(client, run) == []


def test_what_is_not_there_is_said_to_be_missing(client: MlflowClient, run: str, tmp_path: Path) -> None:
    repository = get_artifact_repository(client.get_run(run).info.artifact_uri)
    with pytest.raises(MlflowException, match="No such artifact: 'nothing'") as raised:
        repository.download_artifacts("nothing", str(tmp_path))
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match="neither a file nor a folder"):
        repository.log_artifact(str(tmp_path / "nothing"))
    with pytest.raises(MlflowException, match="Failed to download artifacts from path 'nothing'"):
        client.download_artifacts(run, "nothing", str(tmp_path))


def test_files_and_folders_are_deleted(client: MlflowClient, run: str) -> None:
    for path in ("a/1.txt", "a/2.txt", "b/3.txt", "4.txt"):
        client.log_text(run, "x", path)
    repository = get_artifact_repository(client.get_run(run).info.artifact_uri)
    repository.delete_artifacts("a/1.txt")
    assert [path for path, *_ in paths(client, run, "a")] == ["a/2.txt"]
    repository.delete_artifacts("a")
    assert [path for path, *_ in paths(client, run)] == ["4.txt", "b"]
    repository.delete_artifacts()
    assert paths(client, run) == []


def test_a_deleted_run_takes_no_files(client: MlflowClient, run: str) -> None:
    client.delete_run(run)
    with pytest.raises(MlflowException, match="deleted") as raised:
        client.log_text(run, "x", "a.txt")
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_broken_upload_goes_on_where_it_stopped(
    store: TrackingStore, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create_run(store.create_experiment(name), "ada", 1, [], None)
    data = os.urandom(5 << 20)
    (tmp_path / "f.bin").write_bytes(data)
    sent: list[list[Any]] = []
    kept: list[int] = []
    send, ask = Connection.send, Connection.ask

    def breaks_once(self: Connection, method: str, requests: Any) -> Any:
        taken: list[Any] = []
        sent.append(taken)

        def counted() -> Any:
            for message in requests:
                if len(sent) == 1 and len(taken) == 4:
                    time.sleep(0.5)  # so that something has arrived, as a rule
                    raise Unreachable("the connection broke")
                taken.append(message)
                yield message

        return send(self, method, counted())

    def remembered(self: Connection, method: str, request: Any, **more: Any) -> Any:
        answer = ask(self, method, request, **more)
        if method == "GetUpload":
            kept.append(answer.received_bytes)
        return answer

    monkeypatch.setattr(Connection, "send", breaks_once)
    monkeypatch.setattr(Connection, "ask", remembered)
    get_artifact_repository(run.info.artifact_uri).log_artifact(str(tmp_path / "f.bin"))
    assert [messages[0].header.offset for messages in sent] == [0, *kept]
    assert sum(len(message.data) for message in sent[1]) == len(data) - kept[0]
    got = get_artifact_repository(run.info.artifact_uri).download_artifacts("f.bin", str(tmp_path / ".."))
    assert Path(got).read_bytes() == data


def test_an_experiment_may_keep_its_files_elsewhere(client: MlflowClient, name: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    experiment = client.create_experiment(name, artifact_location=elsewhere.as_uri())
    run = client.create_run(experiment).info
    assert run.artifact_uri == f"{elsewhere.as_uri()}/{run.run_id}/artifacts"
    client.log_text(run.run_id, "here", "a.txt")
    assert (elsewhere / run.run_id / "artifacts" / "a.txt").read_text() == "here"
    fresh = TrackingStore("fivefold://127.0.0.1:7100")
    assert fresh.get_run(run.run_id).info.artifact_uri == run.artifact_uri


@pytest.mark.parametrize(
    "uri",
    [
        "fivefold-artifacts://h:1/experiments/1",
        "fivefold-artifacts://h:1/experiments/1/xyz/artifacts",
        f"fivefold-artifacts://h:1/experiments/1/{'a' * 32}/artifactsX",
        "fivefold-artifacts://h:1/models/a/versions/0",
        "fivefold-artifacts:",
    ],
)
def test_a_uri_of_no_files_is_refused(environment: None, uri: str) -> None:
    with pytest.raises(Failure, match="the URI is") as raised:
        get_artifact_repository(uri).list_artifacts()
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
