"""Completes what the maker of a version left out of its lineage: from the package, and from its run. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fivefold_registry.package import Package
from fivefold_registry.store.records import Lineage

#: Tags of a run that name what it belongs to.
TRAINING_SET_TAG = "fivefold.training_set"
JOB_TAG = "fivefold.job"
#: Source type of a run's dataset input that is a training set; its source is the training set's name.
TRAINING_SET_INPUT = "fivefold_training_set"

_TRAINING_SET = re.compile(r"trainingSets/[^/\0]{1,50}")
_JOB = re.compile(r"jobs/[^/\0]{1,59}")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a version's run knows: `inputs` are (source type, source) of its datasets, in order.

    name          "" for a logged model whose run is not known
    logged_model  name of the one that the version is made from, "" for a run's own artifacts
    """

    name: str
    experiment: str
    tags: Mapping[str, str]
    inputs: tuple[tuple[str, str], ...] = ()
    logged_model: str = ""


def complete(given: Lineage, package: Package | None, run: RunFacts) -> Lineage:
    """Returns the lineage with its gaps filled, first from the package, then from the run.

    run  the source's; when the maker named another run, that one's experiment, training set and job are not guessed
    """
    if package is not None:
        given = replace(
            given,
            training_set=given.training_set or package.training_set,
            feature_spec=given.feature_spec or package.feature_spec,
        )
    given = replace(given, logged_model=given.logged_model or run.logged_model)
    if given.run not in ("", run.name):
        return given
    datasets = [source for kind, source in run.inputs if kind == TRAINING_SET_INPUT]
    return replace(
        given,
        run=run.name,
        experiment=given.experiment or run.experiment,
        training_set=given.training_set or _first(_TRAINING_SET, run.tags.get(TRAINING_SET_TAG, ""), *datasets),
        job=given.job or _first(_JOB, run.tags.get(JOB_TAG, "")),
    )


def _first(form: re.Pattern[str], *texts: str) -> str:
    return next((text for text in texts if form.fullmatch(text)), "")
