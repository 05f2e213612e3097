"""Steps 4 and 5: an AutoML job on Ray with live progress, and the best model on its way to Production."""

from fivefold.demo.story import Failed, Story
from fivefold.demo.tables import ASKED, TARGET
from fivefold.sdk.automl import Job, Trial
from fivefold.sdk.client import Client
from fivefold.sdk.features import TrainingSet

MODEL = "flight-late"


def run(story: Story, client: Client, training: TrainingSet, minutes: float, max_trials: int) -> Job:
    """Searches, printing each trial as it ends, then the leaderboard.

    Raises Failed when the job failed, or when a trial did not run on Ray.
    """
    job = client.automl.classify(
        training_set=training.name,
        target=TARGET,
        time_column=ASKED,
        metric="roc_auc",
        minutes=minutes,
        max_trials=max_trials,
        experiment="flight-late",
    )
    best = 0.0
    told: set[int] = set()
    waiting = False
    for state, trials in job.watch():
        if state.state == "PENDING" and not waiting:
            waiting = True
            story.say("waiting for the job to begin")
        for trial in trials:
            if trial.number in told:
                continue
            if trial.state in ("FINISHED", "FAILED"):
                told.add(trial.number)
            if trial.state == "FINISHED":
                mark = "  <- best so far" if trial.score > best else ""
                best = max(best, trial.score)
                story.say(f"trial {trial.number:>3}  {trial.learner:<20} roc_auc {trial.score:.4f}{mark}")
            elif trial.state == "FAILED":
                story.say(f"trial {trial.number:>3}  {trial.learner:<20} failed: {trial.error}")
    _must_have_succeeded(job)
    _must_have_run_on_ray(story, client, job)
    for warning in job.refresh().warnings:
        story.say(f"warning: {warning}")
    return job


def promote(story: Story, client: Client, job: Job) -> str:
    """Registers the best trial's model and takes it through Staging to Production; returns the version's name."""
    version = job.register(MODEL, description="best trial of the demo's search")
    story.say(f"registered {version}")
    client.registry.transition(version, "Staging", comment="beats the trials before it")
    story.say("moved to Staging")
    request = client.registry.request_transition(version, "Production", comment="validated in Staging")
    story.say(f"Production requested by {request.creator}")
    approved = client.registry.approve(request.name, archive_existing=True, comment="go")
    story.check(approved.model_version.stage == "Production", f"{version} is in Production after the approval")
    activities = client.registry.activities(version)
    story.table(
        ("activity", "by", "from", "to"),
        [(entry.type, entry.user, entry.from_stage, entry.to_stage) for entry in activities],
    )
    return version


def _must_have_succeeded(job: Job) -> None:
    state = job.refresh()
    if state.state != "SUCCEEDED":
        raise Failed(f"the AutoML job ended as {state.state}: {state.error or 'no reason given'}")


def _must_have_run_on_ray(story: Story, client: Client, job: Job) -> None:
    trials = [trial for trial in job.trials() if trial.state == "FINISHED"]
    nodes = {node.id for node in client.automl.cluster().nodes}
    story.say("leaderboard")
    story.table(
        ("rank", "trial", "learner", "roc_auc", "seconds", "run", "ray worker"),
        [
            (
                rank,
                trial.number,
                trial.learner,
                trial.score,
                f"{_seconds(trial):.1f}",
                trial.run,
                trial.ray_worker[:12],
            )
            for rank, trial in enumerate(trials[:8], start=1)
        ],
    )
    runs = [client.tracking.get_run(trial.run) for trial in trials]
    story.check(
        all(
            trial.ray_node in nodes and trial.ray_worker and run.tags.get("fivefold.ray_node") == trial.ray_node
            for trial, run in zip(trials, runs, strict=True)
        ),
        f"all {len(trials)} trials are runs in tracking and ran on Ray, node {trials[0].ray_node[:12]}",
    )


def _seconds(trial: Trial) -> float:
    return (trial.end_time - trial.start_time).total_seconds() if trial.start_time and trial.end_time else 0.0
