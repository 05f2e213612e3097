"""What filters and orders of tracking may name, in MLflow's words and ours."""

from __future__ import annotations

from fivefold_runtime.filters import Field, Group, Kind, OrderKey, Schema

METRICS, PARAMS, TAGS, ATTRIBUTES, DATASETS = "metrics", "params", "tags", "attributes", "datasets"
CONTEXT = "mlflow.data.context"  # the tag of an input in which clients say what a run used the dataset for
START_TIME, RUN_ID, NUMBER = (Field(ATTRIBUTES, key) for key in ("start_time", "run_id", "experiment_id"))

RUNS = Schema(
    Group((METRICS, "metric"), Kind.NUMBER),
    Group((PARAMS, "param", "parameter", "parameters"), Kind.EITHER),
    Group((TAGS, "tag"), Kind.TEXT),
    Group(
        (ATTRIBUTES, "attribute", "attr", "run"),
        fields={
            "run_id": Kind.TEXT,
            "run_name": Kind.TEXT,
            "status": Kind.TEXT,
            "user": Kind.TEXT,
            "start_time": Kind.TIME,
            "end_time": Kind.TIME,
            "experiment_id": Kind.EITHER,
            "parent_run_id": Kind.TEXT,
            "source_name": Kind.TEXT,
            "source_type": Kind.TEXT,
            "git_commit": Kind.TEXT,
        },
        others={
            "user_id": "user",
            "created": "start_time",
            "Created": "start_time",
            "run name": "run_name",
            "Run name": "run_name",
            "Run Name": "run_name",
        },
    ),
    Group((DATASETS, "dataset"), fields={"name": Kind.TEXT, "digest": Kind.TEXT, "context": Kind.TEXT}),
    bare=ATTRIBUTES,
    unordered=(DATASETS,),
)

EXPERIMENTS = Schema(
    Group((TAGS, "tag"), Kind.TEXT),
    Group(
        (ATTRIBUTES, "attribute", "attr", "experiment"),
        fields={
            "name": Kind.TEXT,
            "experiment_id": Kind.EITHER,
            "creation_time": Kind.TIME,
            "last_update_time": Kind.TIME,
        },
    ),
    bare=ATTRIBUTES,
)


def completed(keys: tuple[OrderKey, ...], *last: OrderKey) -> tuple[OrderKey, ...]:
    """Returns an order with the keys that decide between equal ones, where it does not have them itself."""
    return keys + tuple(key for key in last if all(key.field != each.field for each in keys))


# Of equal runs the latest start comes first, then they follow by id; of experiments the newest comes first.
AMONG_EQUAL_RUNS = (OrderKey(START_TIME, descending=True), OrderKey(RUN_ID))
AMONG_EQUAL_EXPERIMENTS = (OrderKey(NUMBER, descending=True),)
