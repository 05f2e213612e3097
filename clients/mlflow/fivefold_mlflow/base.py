"""What all parts of the tracking store stand on: the connection, the experiment "0", where files are.

What is kept here cannot change: an experiment's artifact location, and which experiment this process calls "0".
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD
from mlflow.utils.uri import append_to_uri_path

from fivefold.sdk.errors import FivefoldError
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub
from fivefold_mlflow.connection import connection
from fivefold_mlflow.entities import experiment_of
from fivefold_mlflow.failures import Failure, invalid, not_found, translated
from fivefold_mlflow.marks import is_run
from fivefold_mlflow.places import Place

DEFAULT = "0"  # MLflow's id of the experiment that runs go to when the user names none
PAGE = 1000  # the most that a page of Fivefold has
_MARK = "\0"
_MANY = 100  # entities of one answer
_MOST_DIGITS = 18  # so that a number fits 64 bits


class Base:
    """The connection and the names."""

    def __init__(self, store_uri: str) -> None:
        try:
            self._place = Place.parse(store_uri)
            address = self._place.addresses(os.environ)["tracking"]
        except FivefoldError as error:
            raise translated(error) from error
        self._tracking = connection("tracking", address, TrackingServiceStub)
        self._locations: dict[str, str] = {}
        self._default: str | None = None

    def _number(self, experiment_id: Any) -> str:
        """Returns the number that Fivefold has for an id. Raises MlflowException for one that cannot exist."""
        number = parsed_id(DEFAULT if experiment_id in (None, "") else experiment_id)
        if number == 0:
            if default := self._default_number():
                return default
        elif 0 < number < 10**_MOST_DIGITS:
            return str(number)
        raise not_found(f"No Experiment with id={number} exists")

    def _shown(self, experiment: str) -> str:
        """Returns the id that users see for `experiments/{number}`."""
        number = experiment[12:]
        try:
            return DEFAULT if number == self._default_number() else number
        except Failure:
            return number  # Where a default experiment cannot be made, such as on a full disk, reads go on.

    def _default_number(self) -> str:
        """Returns the number of the experiment "Default", which is made where there is none; "" when it is not ours."""
        if self._default is None:
            asked = pb.LookupExperimentRequest(display_name=Experiment.DEFAULT_EXPERIMENT_NAME)
            try:
                self._default = self._learn(self._tracking.ask("LookupExperiment", asked))
            except Failure as error:
                if error.reason != "RESOURCE_NOT_FOUND":
                    raise
                self._default = self._made_default()
        return self._default

    def _made_default(self) -> str:
        new = pb.Experiment(display_name=Experiment.DEFAULT_EXPERIMENT_NAME)
        try:
            request = pb.CreateExperimentRequest(experiment=new, allow_existing=True)
            return self._learn(self._tracking.change("CreateExperiment", request))
        except Failure as error:
            if error.reason != "RESOURCE_EXISTS":
                raise
            return ""  # It is someone else's, whom this caller may not read.

    def _learn(self, message: pb.Experiment) -> str:
        """Remembers where files of an experiment are; returns its number."""
        number = message.name[12:]
        self._locations[number] = message.artifact_location or self._place.experiment(number)
        return number

    def _experiment(self, message: pb.Experiment) -> Experiment:
        number = self._learn(message)
        return experiment_of(message, self._shown(message.name), self._locations[number])

    def _location(self, experiment: str) -> str:
        """Returns the artifact location of `experiments/{number}`."""
        if experiment[12:] not in self._locations:
            self._learn(self._tracking.ask("GetExperiment", pb.GetExperimentRequest(name=experiment)))
        return self._locations[experiment[12:]]

    def _run_files(self, experiment: str, run: str) -> str:
        return _below(self._location(experiment), (_MARK, "artifacts")).replace(_MARK, run)

    def _model_files(self, experiment: str, model: str) -> str:
        return _below(self._location(experiment), ("models", _MARK, "artifacts")).replace(_MARK, model)


@lru_cache(maxsize=1000)
def _below(location: str, steps: tuple[str, ...]) -> str:
    return append_to_uri_path(location, *steps)


def parsed_id(experiment_id: Any) -> int:
    """Returns the number of an experiment's id. Raises MlflowException for what is no number."""
    try:
        return int(experiment_id)
    except (TypeError, ValueError):
        raise invalid(f"Invalid experiment ID '{experiment_id}'. Experiment ID must be a valid integer.") from None


def run_name(run_id: str) -> str:
    """Returns `runs/{run}`. Raises MlflowException for an id that no run has."""
    if not is_run(run_id):
        raise missing_run(run_id)
    return f"runs/{run_id}"


def missing_run(run_id: str) -> MlflowException:
    """Returns what MLflow raises for a run that is not there."""
    return not_found(f"Run with id={run_id} not found")


def inactive_run(run_id: str) -> MlflowException:
    """Returns what MLflow raises for a change to a deleted run."""
    return invalid(f"The run {run_id} must be in the 'active' state. Current state is deleted.")


@contextmanager
def about_run(run_id: str) -> Iterator[None]:
    """Says what is wrong with a run in MLflow's words."""
    try:
        yield
    except Failure as error:
        if error.reason == "RESOURCE_NOT_FOUND" and error.facts.get("name", f"runs/{run_id}") == f"runs/{run_id}":
            raise missing_run(run_id) from error
        if error.reason == "RUN_DELETED":
            raise inactive_run(run_id) from error
        raise


def check_max_results(max_results: int | None, *, optional: bool = False) -> None:
    """Raises MlflowException for a number of results that MLflow does not allow."""
    if max_results is None and optional:
        return
    if max_results is None or max_results < 1:
        raise invalid(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be a positive integer"
        )
    if max_results > SEARCH_MAX_RESULTS_THRESHOLD:
        raise invalid(
            f"Invalid value {max_results} for parameter 'max_results' supplied. "
            f"It must be at most {SEARCH_MAX_RESULTS_THRESHOLD}"
        )


def filled(ask: Any, request: Any, items: str, wanted: int | None) -> tuple[list[Any], str | None]:
    """Returns as many items as wanted, or all, and the token of the next page; Fivefold's pages have at most 1000.

    ask  sends `request`, whose page_size and page_token are set here, and returns a page
    """
    found: list[Any] = []
    while True:
        request.page_size = PAGE if wanted is None else min(PAGE, wanted - len(found))
        page = ask(request)
        found.extend(getattr(page, items))
        request.page_token = page.next_page_token
        if not page.next_page_token or (wanted is not None and len(found) >= wanted):
            return found, page.next_page_token or None


@contextmanager
def no_collection(count: int) -> Iterator[None]:
    """Keeps the garbage collector from walking a growing list of entities, which takes most of the time; none is garbage."""
    pause = count > _MANY and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()
