"""Searches, lists, exports and comparisons give away nothing of experiments that the caller may not read."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fivefold.tracking.v1 import tracking_pb2 as pb
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking
from tests.tracking.test_permissions import Everyone, everyone  # noqa: F401  # the fixture

FILTERS = ["", "start_time > 0", "metrics.a > 0 OR status = 'RUNNING'", "run_name != 'x'", "tags.secret IS NULL"]


def exported(tracking: Tracking, *experiments: str, **more: object) -> pa.Table:
    answers = tracking.stub.ExportRuns(pb.ExportRunsRequest(experiments=experiments, **more))
    return pa.ipc.open_stream(b"".join(answer.data for answer in answers)).read_all()


@pytest.mark.parametrize("filter", FILTERS)
def test_a_hidden_experiment_adds_neither_runs_nor_to_the_count(everyone: Everyone, filter: str) -> None:  # noqa: F811
    everyone.manager.log(everyone.run, [pb.Metric(key="secret", value=1)])
    own = everyone.stranger.experiment("own").name
    mine = everyone.stranger.run(own).name

    for view in (pb.VIEW_ACTIVE, pb.VIEW_ALL):
        found = everyone.stranger.search(everyone.experiment, own, filter=filter, view=view, order_by="metrics.secret")
        assert ([run.name for run in found.runs], found.total_size) == ([mine], 1)
    alone = everyone.stranger.search(everyone.experiment, filter=filter)
    assert (len(alone.runs), alone.total_size, alone.next_page_token) == (0, 0, "")
    table = exported(everyone.stranger, everyone.experiment, own, filter=filter)
    assert (table.num_rows, "metrics.secret" in table.column_names) == (1, False)


def test_a_mistake_is_told_alike_for_hidden_and_missing_experiments(everyone: Everyone) -> None:  # noqa: F811
    messages = set()
    for experiment in (everyone.experiment, "experiments/999"):
        with refused("FILTER_INVALID") as refusal:
            everyone.stranger.search(experiment, filter="metrics.a >")
        messages.add(refusal.message)
    assert len(messages) == 1


def test_a_list_with_a_filter_has_only_readable_experiments(everyone: Everyone) -> None:  # noqa: F811
    hidden = everyone.manager.stub.GetExperiment(pb.GetExperimentRequest(name=everyone.experiment)).display_name
    own = everyone.stranger.experiment("own").name

    for filter in ("", f"name = '{hidden}' OR name = 'own'", "name != 'x'", "tags.a IS NULL"):
        asked = pb.ListExperimentsRequest(filter=filter, order_by="name", view=pb.VIEW_ALL)
        assert [one.name for one in everyone.stranger.stub.ListExperiments(asked).experiments] == [own]


def test_one_hidden_run_hides_a_whole_comparison(everyone: Everyone) -> None:  # noqa: F811
    mine = everyone.stranger.run(everyone.stranger.experiment("own").name).name

    with refused("RESOURCE_NOT_FOUND") as hidden:
        everyone.stranger.stub.CompareRuns(pb.CompareRunsRequest(runs=[mine, everyone.run]))
    with refused("RESOURCE_NOT_FOUND") as missing:
        everyone.stranger.stub.CompareRuns(pb.CompareRunsRequest(runs=[mine, f"runs/{'0' * 32}"]))
    assert hidden.message.replace(everyone.run, "X") == missing.message.replace(f"runs/{'0' * 32}", "X")
