"""Step 7: another version goes live under a running stream of predictions, is rolled back, and lineage is walked."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

import pandas as pd

from fivefold.demo.search import MODEL
from fivefold.demo.story import Story
from fivefold.demo.tables import REQUEST
from fivefold.sdk.automl import Job, Trial
from fivefold.sdk.client import Client
from fivefold.sdk.errors import FivefoldError

PATIENCE_SECONDS = 60
SHOWN = 100  # answers of the second version before it is rolled back


class Stream:
    """Predictions without a pause in a thread of its own; counts answers by version, and failures."""

    def __init__(self, client: Client, flights: pd.DataFrame) -> None:
        self._client = client
        self._rows = flights[[*REQUEST, "scheduled"]].to_dict("records")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="predictions")
        self.versions: Counter[str] = Counter()
        self.order: list[str] = []
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def until(self, version: str, answers: int = 1) -> float | None:
        """Waits for answers of a version; returns the seconds until the first, None when they never come."""
        began, first = time.monotonic(), None
        while time.monotonic() - began < PATIENCE_SECONDS:
            if first is None and self.order[-1:] == [version]:
                first = time.monotonic() - began
            if first is not None and self.versions[version] >= answers:
                return first
            time.sleep(0.005)
        return None

    def _run(self) -> None:
        place = 0
        while not self._stop.is_set():
            row = self._rows[place % len(self._rows)]
            place += 1
            try:
                answer = self._client.serving.predict(
                    MODEL, {name: [row[name]] for name in REQUEST}, as_of=row["scheduled"]
                )
            except FivefoldError as error:
                self.failures.append(str(error))
                continue
            self.versions[answer.model_version] += 1
            if self.order[-1:] != [answer.model_version]:
                self.order.append(answer.model_version)


def swap(story: Story, client: Client, job: Job, flights: pd.DataFrame, first: str) -> None:
    """Promotes the second-best trial's model under load, then rolls back; a lone trial's model goes twice."""
    trial, about = contender(job.trials())
    story.say(f"a second version to promote: {about}")
    with Stream(client, flights) as stream:
        stream.until(first)
        second = job.register(MODEL, trial=trial.name, description=about)
        client.registry.transition(second, "Production", archive_existing=True, comment="try the second version")
        forth = stream.until(second, SHOWN)
        client.registry.roll_back(MODEL, comment="the first was better")
        back = stream.until(first)
    story.table(("answered by", "predictions"), sorted(stream.versions.items()))
    story.check(forth is not None, f"the answers came from {second} {forth or 0:.2f} s after its promotion")
    story.check(back is not None, f"and from {first} again {back or 0:.2f} s after the rollback")
    story.check(stream.order == [first, second, first], "the version changed exactly twice, forth and back")
    story.check(not stream.failures, f"none of {sum(stream.versions.values())} predictions failed")


def contender(trials: Sequence[Trial]) -> tuple[Trial, str]:
    """Picks, from trials with the best first, the one of the second version; returns it and what it is."""
    finished = [trial for trial in trials if trial.state == "FINISHED"]
    if len(finished) == 1:
        return finished[0], "the best trial's model once more, as no other trial finished"
    return finished[1], "the second-best trial's model"


def walk_back(story: Story, client: Client, version: str) -> None:
    """Follows one prediction back to the versions of the feature tables that its model learnt from."""
    found = client.registry.get_version(version)
    run = client.tracking.get_run(found.lineage.run)
    training = client.features.get_training_set(found.lineage.training_set)
    story.say(f"prediction      answered by {found.name}, digest {found.digest[:12]}")
    story.say(f"model version   {found.stage}, made by {found.creator} from {found.source}")
    story.say(
        f"run             {run.name} '{run.display_name}', learner {run.params.get('learner')}, of {found.lineage.job}"
    )
    story.say(f"training set    {training.name}, {training.rows} rows, digest {training.digest[:12]}")
    story.say(f"feature tables  {', '.join(training.table_versions)}")
    story.check(
        sorted(found.lineage.table_versions) == sorted(training.table_versions) and bool(training.table_versions),
        "the registry and the features service name the same table versions",
    )
