"""Runs the seven steps in order against an installation that it starts and stops itself."""

import json
import os
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import fivefold
from fivefold.cli.failures import Failure
from fivefold.cli.instance import Folder
from fivefold.demo import flights, replay, search, swap, tables
from fivefold.demo.installation import Installation
from fivefold.demo.story import Failed, Story
from fivefold.sdk.client import Client

MARKER = "made-by-fivefold-demo"
HELD_BACK = (date(2013, 10, 1), date(2013, 12, 31))  # first and last local day


@dataclass(frozen=True)
class Options:
    """How large the demo is.

    data               folder for the services' data; an earlier demo's is replaced, anything else is refused
    port               console port of the installation, services at +1 … +5; 0 looks for free ones
    minutes            time budget of the search
    max_trials         most trials; 0 means as many as the budget allows
    training_rows      sample of the flights of January to September
    held_back_rows     sample of the flights of October to December
    day                held-back local day that is replayed, hour by hour
    """

    data: Path = Path("fivefold-demo")
    port: int = 0
    minutes: float = 1.0
    max_trials: int = 0
    training_rows: int = 40_000
    held_back_rows: int = 20_000
    day: date = date(2013, 11, 27)


def main(options: Options) -> int:
    """Runs the demo; returns the exit code: 0 when every promise was kept, 1 when one was not."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)  # so that what was started is stopped, as on Ctrl-C
    story = Story()
    print("Will this flight arrive more than 15 minutes late?  Data to predictions by key, on five services.")
    try:
        _must_be_held_back(options.day)
        _own_folder(options.data)
        with Installation(options.data / "services", options.port) as installation:
            story.say(f"five services answer at {installation.address} after {installation.seconds:.1f} s")
            with fivefold.connect(installation.address, token="", tls_ca="") as client:
                report = _steps(story, client, options)
        (options.data / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    except Failed as failure:
        print(f"\ndemo failed: {failure}", flush=True)
        return 1
    print(f"\nThe whole lifecycle took {story.seconds():.0f} s. Everything that was started is stopped.")
    look = shlex.join([*fivefold_command(), "up", "--data", str(options.data / "services")])
    print(f"Figures: {options.data / 'report.json'}. Look around: {look}")
    return 0


def _steps(story: Story, client: Client, options: Options) -> dict[str, object]:
    with story.step(1, "Data: every flight that left New York City in 2013"):
        data = flights.load()
        arrived = data.flights["arr_delay"].notna()
        story.say(f"{len(data.flights):,} flights, {len(data.weather):,} hours of weather, {len(data.planes):,} planes")
        story.say(
            f"{data.flights.loc[arrived, 'late'].mean():.1%} of those that arrived came more than 15 minutes late"
        )
    with story.step(2, "Features: what was known, and when"):
        sources = tables.sources(data)
        tables.write(story, client, sources)
        tables.create_spec(client, sources)
    with story.step(3, "Training set: each flight joined to what was known at its scheduled departure"):
        labels = tables.labels(data.flights, range(1, 10), options.training_rows, seed=1)
        training = tables.join(client, labels)
        story.say(f"January to September: {training.rows:,} rows, {len(training.columns)} columns, {training.name}")
        wrong = tables.differences(labels, training.to_pandas(), sources, rows=40, seed=2)
        story.check(not wrong, f"40 rows are what plain pandas computes {'; '.join(wrong[:3])}".rstrip())
        held_back = tables.labels(data.flights, range(10, 13), options.held_back_rows, seed=3)
        held_back_set = tables.join(client, held_back)
        story.say(f"October to December, held back: {held_back_set.rows:,} rows, {held_back_set.name}")
    with story.step(4, f"AutoML: {options.minutes * 60:.0f} seconds of search on Ray"):
        job = search.run(story, client, training, options.minutes, options.max_trials)
    with story.step(5, "Registry: the best model goes to Production"):
        version = search.promote(story, client, job)
    with story.step(6, f"Serving: {options.day:%d %B %Y}, hour by hour, by keys only"):
        story.say(f"serving picked {version} up by itself {replay.until_served(client, version):.1f} s later")
        replayed = replay.day(story, client, sources, data.flights, options.day)
        joined = held_back_set.to_pandas()
        probabilities = replay.batch(client, joined)
        score = replay.roc_auc(joined[tables.TARGET], probabilities)
        story.say(f"held-back months, {len(joined):,} rows in batch: roc_auc {score:.4f}")
        story.check(score > 0.6, "the model is better than guessing on months it never saw")
        _same_online_and_offline(story, client, replayed)
    with story.step(7, "A second version under load, a rollback, and the way back to the data"):
        swap.swap(story, client, job, replayed.flights, version)
        assert replayed.last is not None
        swap.walk_back(story, client, replayed.last.model_version)
    answers = joined[[tables.ASKED, tables.TARGET]].assign(probability=probabilities)
    answers.to_csv(options.data / "held_back_predictions.csv", index=False)
    times = sorted(replayed.milliseconds)
    return {
        "training_rows": training.rows,
        "training_set_digest": training.digest,
        "held_back_rows": held_back_set.rows,
        "held_back_roc_auc": score,
        "validation_roc_auc": job.trials()[0].score,
        "trials_finished": job.refresh().trials_finished,
        "predictions_by_key": len(times),
        "p50_ms": times[len(times) // 2],
        "p99_ms": times[len(times) * 99 // 100],
        "model_version": version,
        "seconds": round(story.seconds(), 1),
    }


def _same_online_and_offline(story: Story, client: Client, replayed: replay.Replayed) -> None:
    """Scores the replayed day once more in batch, from the offline tables: the answers must be the same."""
    labels = replayed.flights[[*tables.REQUEST, tables.ASKED, tables.TARGET]]
    offline = replay.batch(client, tables.join(client, labels).to_pandas())
    apart = (offline - replayed.probabilities).abs().max()
    story.check(apart < 1e-9, f"online and offline features give the same {len(labels)} predictions (no skew)")


def _interrupted(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def fivefold_command() -> list[str]:
    """What to type here for `fivefold`: that itself if the shell finds this one, else a path that works."""
    script = Path(sys.executable).with_name("fivefold")
    if not script.exists():
        return [sys.executable, "-m", "fivefold"]
    found = shutil.which("fivefold")
    if found and os.path.samefile(found, script):
        return ["fivefold"]
    return [str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)]


def _must_be_held_back(day: date) -> None:
    """Raises Failed for a day that the model learns from, or of which there are no flights."""
    first, last = HELD_BACK
    if not first <= day <= last:
        raise Failed(f"{day} is not a held-back day; --day takes one from {first} to {last}")


def _own_folder(folder: Path) -> None:
    """Makes the demo's folder; replaces an earlier demo's.

    Raises Failed when the folder holds something else.
    """
    if folder.exists() and not (folder / MARKER).exists():
        raise Failed(f"{folder} exists and is not an earlier demo's folder; choose another with --data")
    try:
        Folder(folder / "services").refuse_if_busy()
    except Failure as error:
        raise Failed(str(error)) from None
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARKER).touch()
    except OSError as error:
        raise Failed(f"cannot write to {folder}: {error.strerror}; choose another with --data") from None
