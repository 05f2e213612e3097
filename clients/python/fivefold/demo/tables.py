"""Steps 2 and 3: four feature tables, one feature spec, and the training sets that are joined from them.

Writes through the features service only; `recompute` is the plain pandas computation that a few rows are held against.
"""

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from fivefold.demo.flights import Data, recent_delays
from fivefold.demo.story import Story
from fivefold.sdk.client import Client
from fivefold.sdk.features import Lookup, TrainingSet

SPEC = "flight_late"
ASKED = "scheduled"
TARGET = "late"
REQUEST = ["tailnum", "carrier", "origin", "dest", "sched_minute", "weekday"]


@dataclass(frozen=True)
class Source:
    """One feature table: its rows, its keys, its times, and how far back a look-up goes."""

    table: str
    rows: pd.DataFrame
    keys: list[str]
    time: str | None
    known: str | None
    look_back: timedelta | None
    about: str

    @property
    def features(self) -> list[str]:
        """Columns that are neither keys nor times."""
        return [name for name in self.rows.columns if name not in {*self.keys, self.time, self.known}]


def sources(data: Data) -> list[Source]:
    """The four tables of the demo."""
    carriers = recent_delays(data.flights, ["carrier"], {"3h": "3h", "24h": "24h"}, "carrier")
    routes = recent_delays(data.flights, ["origin", "dest"], {"1d": "1D", "14d": "14D"}, "route")
    return [
        Source("weather", data.weather, ["origin"], "observed", "known", timedelta(hours=6), "hourly, by airport"),
        Source("planes", data.planes, ["tailnum"], None, None, None, "the aircraft register"),
        Source("carrier_delays", carriers, ["carrier"], "as_of", None, timedelta(days=1), "of flights that had landed"),
        Source(
            "route_delays", routes, ["origin", "dest"], "as_of", None, timedelta(days=14), "of flights that had landed"
        ),
    ]


def write(story: Story, client: Client, tables: list[Source]) -> None:
    """Creates the tables and writes their rows."""
    lines = []
    for source in tables:
        client.features.create_table(
            source.table,
            source.rows,
            keys=source.keys,
            timestamp_key=source.time,
            knowledge_key=source.known,
            description=source.about,
        )
        version = client.features.write(source.table, source.rows)
        lines.append((source.table, version.version, version.rows_total, len(source.features), ", ".join(source.keys)))
    story.table(("table", "version", "rows", "features", "keys"), lines)


def create_spec(client: Client, tables: list[Source]) -> None:
    """Names the look-ups once, for training, batch scoring and serving alike."""
    lookups = [Lookup(table=source.table, features=source.features, look_back=source.look_back) for source in tables]
    client.features.create_spec(SPEC, lookups)


def labels(flights: pd.DataFrame, months: range, rows: int, seed: int) -> pd.DataFrame:
    """A sample of the flights of some months that arrived, ordered by time, with what is known at departure."""
    arrived = flights[flights["month"].isin(months) & flights["arr_delay"].notna()]
    sample = arrived.sample(min(rows, len(arrived)), random_state=seed).sort_values(ASKED, kind="stable")
    return sample[[*REQUEST, ASKED, TARGET]].reset_index(drop=True)


def join(client: Client, frame: pd.DataFrame) -> TrainingSet:
    """Joins features to labels at each label's own time."""
    return client.features.training_set(
        SPEC, frame, timestamp_column=ASKED, label_columns=[TARGET], exclude=["tailnum"]
    )


def differences(frame: pd.DataFrame, joined: pd.DataFrame, tables: list[Source], rows: int, seed: int) -> list[str]:
    """Holds some rows of a training set against a plain pandas computation; names each cell that differs."""
    found = []
    for place in frame.sample(rows, random_state=seed).index:
        for source in tables:
            expected = recompute(frame.loc[place], source)
            for name in source.features:
                got = joined.at[place, name]
                want = None if expected is None else expected[name]
                if not (pd.isna(got) and pd.isna(want)) and got != want:
                    found.append(f"row {place}, {source.table}.{name}: {got!r}, expected {want!r}")
    return found


def recompute(label: pd.Series, source: Source) -> pd.Series | None:
    """The newest row of a table for a label: true, known and not too old at the label's time; None without one."""
    rows = source.rows
    for key in source.keys:
        rows = rows[rows[key] == label[key]]
    if source.time is not None:
        known = rows[source.known or source.time]
        rows = rows[(rows[source.time] <= label[ASKED]) & (known <= label[ASKED])]
        if source.look_back is not None:
            rows = rows[rows[source.time] >= label[ASKED] - source.look_back]
        rows = rows.sort_values(source.time, kind="stable")
    return rows.iloc[-1] if len(rows) else None
