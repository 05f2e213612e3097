"""Step 6: one held-back day, hour by hour, predicted by keys; and the held-back months, scored in batch."""

import time
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from fivefold.demo.search import MODEL
from fivefold.demo.story import Failed, Story
from fivefold.demo.tables import ASKED, REQUEST, TARGET, Source
from fivefold.sdk.client import Client
from fivefold.sdk.errors import FivefoldError
from fivefold.sdk.serving import Prediction

BATCH_ROWS = 5000
PATIENCE_SECONDS = 60


@dataclass
class Replayed:
    """What the replay learnt, row by row."""

    flights: pd.DataFrame
    probabilities: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    last: Prediction | None = None


def until_served(client: Client, version: str) -> float:
    """Waits until serving answers with a version; returns the seconds it took.

    Raises Failed when that takes a minute, or when serving refuses the version.
    """
    began = time.monotonic()
    try:
        client.serving.wait(version, PATIENCE_SECONDS)
    except FivefoldError as error:
        raise Failed(f"serving did not pick up {version}: {error.message}") from None
    return time.monotonic() - began


def day(story: Story, client: Client, tables: list[Source], flights: pd.DataFrame, when: date) -> Replayed:
    """Walks through one local day: publishes features as of each hour, then predicts the flights of that hour."""
    local = flights[ASKED].dt.tz_convert("America/New_York")
    chosen = flights[(local.dt.date == when) & flights["arr_delay"].notna()].reset_index(drop=True)
    replayed = Replayed(chosen)
    shown = []
    for hour, departing in chosen.groupby(chosen[ASKED].dt.floor("h")):
        for source in tables:
            client.features.publish(source.table, as_of=hour, reset=not replayed.probabilities)
        for flight in departing.itertuples():
            began = time.perf_counter()
            answer = client.serving.predict(
                MODEL, {name: [getattr(flight, name)] for name in REQUEST}, as_of=flight.scheduled
            )
            replayed.milliseconds.append((time.perf_counter() - began) * 1000)
            replayed.probabilities.append(float(answer.outputs["probability"][0]))
            replayed.last = answer
        first = departing.iloc[0]
        late = "late" if first[TARGET] else "on time"
        probability = f"{replayed.probabilities[-len(departing)]:.2f}"
        clock = first[ASKED].tz_convert("America/New_York").strftime("%H:%M")
        flight = f"{clock} {first['carrier']} {first['origin']}-{first['dest']}"
        shown.append((f"{clock[:2]}:00", len(departing), flight, probability, late))
    story.table(("hour", "flights", "the first of them", "its P(late)", "it came"), shown)
    times = pd.Series(replayed.milliseconds)
    story.say(
        f"{len(times)} predictions by keys, one per call, features looked up; seen by the client:"
        f" p50 {times.quantile(0.5):.1f} ms, p99 {times.quantile(0.99):.1f} ms"
    )
    story.say(f"roc_auc on this day {roc_auc(chosen[TARGET], pd.Series(replayed.probabilities)):.4f}")
    return replayed


def batch(client: Client, joined: pd.DataFrame) -> pd.Series:
    """Predicts every row of a training set through serving, in batches, all features given; P(late) by row."""
    inputs = joined.drop(columns=[TARGET, ASKED])
    answers = [
        client.serving.predict(MODEL, inputs.iloc[start : start + BATCH_ROWS]).outputs["probability"]
        for start in range(0, len(inputs), BATCH_ROWS)
    ]
    return pd.Series([float(value) for answer in answers for value in answer], index=joined.index)


def roc_auc(truth: pd.Series, score: pd.Series) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half."""
    positive = truth.to_numpy(dtype=bool)
    ranks = score.rank().to_numpy()
    hits = int(positive.sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(positive) - hits)))
