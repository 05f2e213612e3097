"""Addresses and URIs, and names as MLflow spells them."""

from __future__ import annotations

import pytest

from fivefold.sdk.errors import InvalidArgument
from fivefold_mlflow.places import Files, Place
from fivefold_mlflow.versions import Number, copied_version, source_of

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("uri", "environ", "tracking", "registry"),
    [
        ("fivefold://host:7100", {}, "host:7101", "host:7103"),
        ("fivefold://host", {}, "host:7101", "host:7103"),
        ("fivefold://[::1]:8000/", {}, "[::1]:8001", "[::1]:8003"),
        ("fivefold://", {}, "127.0.0.1:7101", "127.0.0.1:7103"),
        ("fivefold:", {"FIVEFOLD_URL": "h:9000"}, "h:9001", "h:9003"),
        ("fivefold:///", {"FIVEFOLD_URL": "h:9000"}, "h:9001", "h:9003"),
        ("fivefold://h:1", {"FIVEFOLD_URL_REGISTRY": "r:5"}, "h:2", "r:5"),
        ("fivefold://h:1", {"FIVEFOLD_URL": "x:1", "FIVEFOLD_URL_TRACKING": "t:5"}, "t:5", "h:4"),
    ],
)
def test_a_service_is_where_uri_and_environment_say(
    uri: str, environ: dict[str, str], tracking: str, registry: str
) -> None:
    found = Place.parse(uri).addresses(environ)
    assert (found["tracking"], found["registry"]) == (tracking, registry)


@pytest.mark.parametrize("uri", ["fivefold://h:1/path", "http://h:1", "fivefold", ""])
def test_a_uri_that_names_more_or_less_than_a_place_is_refused(uri: str) -> None:
    with pytest.raises(InvalidArgument, match="the URI is"):
        Place.parse(uri)


@pytest.mark.parametrize("slashes", ["", "/", "//", "///"])
def test_a_uri_without_a_host_may_have_any_number_of_slashes(slashes: str) -> None:
    if slashes == "//":
        return  # then the first step is the host
    found = Files.parse(f"fivefold-artifacts:{slashes}experiments/3/{RUN}/artifacts/a/b")
    assert (found.place.authority, found.parent, found.path) == ("", f"runs/{RUN}", "a/b")


@pytest.mark.parametrize("model", ["churn", "a b", "ünï", "50% @#?&", "models"])
def test_the_files_of_a_version_are_found_whatever_its_model_is_called(model: str) -> None:
    place = Place("h:1")
    found = Files.parse(place.version(model, 12))
    assert (found.place, found.parent, found.of_version) == (place, f"models/{model}/versions/12", True)


def test_sources_become_folders_that_the_registry_copies() -> None:
    run, model = f"fivefold-artifacts://h:1/experiments/7/{RUN}/artifacts", f"m-{RUN}"
    assert source_of(run) == f"runs/{RUN}/artifacts"
    assert source_of(f"{run}/a/b") == f"runs/{RUN}/artifacts/a/b"
    assert source_of(f"runs:/{RUN}/a") == f"runs/{RUN}/artifacts/a"
    assert source_of(f"models:/{model}") == f"logged_models/{model}/artifacts"
    assert source_of(f"fivefold-artifacts:/experiments/7/models/{model}/artifacts") == (
        f"logged_models/{model}/artifacts"
    )
    for elsewhere in ("s3://b/p", "path/to/source", "models:/churn/3", "runs:/unknown/x", "mlflow-artifacts:/1/x"):
        assert source_of(elsewhere) == ""
    assert copied_version("models:/churn/3") == "models/churn/versions/3"
    assert copied_version("fivefold-artifacts://h:1/models/churn/versions/3") == "models/churn/versions/3"
    assert copied_version("s3://b/p") == copied_version("models:/churn/Production") == ""


def test_a_version_number_is_text_and_equals_its_number() -> None:
    number = Number(3)
    assert (number == "3", number == 3, number != 4, number != "4") == (True, True, True, True)
    assert (number == True, number == 3.0, f"{number}", int(number)) == (False, False, "3", 3)  # noqa: E712
    assert {number: 1}["3"] == 1
