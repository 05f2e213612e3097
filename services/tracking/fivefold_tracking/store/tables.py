"""The tables of tracking; each index names the RPC that needs it.

Times are microseconds since 1970. Texts that are compared or ordered are so by code point, on PostgreSQL too. A
metric's value is NULL for NaN, which SQLite cannot store.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from fivefold_runtime import tables as runtime_tables
from fivefold_runtime.tables import Position

metadata = MetaData()
_Text = Text(collation="C").with_variant(Text(), "sqlite")
_Id = String(32, collation="C").with_variant(String(32), "sqlite")
# The id of a logged model, or of either kind of parent of artifacts.
_ModelId = String(34, collation="C").with_variant(String(34), "sqlite")
_ACTIVE = text("deleted IS NULL")
_DELETED = text("deleted IS NOT NULL")
_PURGED = text("deleted < 0")
# A value may be longer than PostgreSQL lets into an index: short ones have one index, the rare long ones another.
SHORT = text("length(value) <= 500")
LONG = text("length(value) > 500")
_NUMBER = text("number IS NOT NULL")

experiments = Table(
    "experiments",
    metadata,
    Column("number", Position, primary_key=True, autoincrement=True),
    Column("display_name", _Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("deleted", BigInteger),
    Column("revision", Integer, nullable=False),
    Column("artifact_location", Text, nullable=False, server_default=""),  # "" for this service
    # CreateExperiment, LookupExperiment: the rule "one active experiment of a name", whatever code says.
    Index("experiments_active_name", "display_name", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    sqlite_autoincrement=True,
)

experiment_tags = Table(
    "experiment_tags",
    metadata,
    Column("experiment", ForeignKey("experiments.number", ondelete="CASCADE"), primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("value", _Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("experiment", ForeignKey("experiments.number", ondelete="CASCADE"), nullable=False),
    Column("display_name", _Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("user", _Text, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("parent", _Id, nullable=False),  # "" for none
    Column("source_type", String(16), nullable=False),
    Column("source_name", Text, nullable=False),
    Column("entry_point", Text, nullable=False),
    Column("git_commit", Text, nullable=False),
    Column("git_repo", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("deleted", BigInteger),  # by itself; with its experiment it counts as deleted too
    Column("revision", Integer, nullable=False),
    # SearchRuns by start time
    Index("runs_by_start", "experiment", "started", "id"),
    # SearchRuns by these attributes
    Index("runs_by_status", "experiment", "status", "id"),
    Index("runs_by_display_name", "experiment", "display_name", "id"),
    # SearchRuns without deleted ones, UndeleteRuns, PurgeRuns
    Index("runs_deleted", "experiment", "deleted", "id", sqlite_where=_DELETED, postgresql_where=_DELETED),
    # what is left to remove after a purge
    Index("runs_purged", "id", sqlite_where=_PURGED, postgresql_where=_PURGED),
    # SearchRuns of one parent
    Index("runs_by_parent", "parent", sqlite_where=text("parent <> ''"), postgresql_where=text("parent <> ''")),
)

params = Table(
    "params",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("value", _Text, nullable=False),
    Column("experiment", BigInteger, nullable=False),
    Column("number", Double),  # what the value is as a number, where it is one
    # SearchRuns by params.KEY
    Index("params_by_value", "experiment", "key", "value", "run", sqlite_where=SHORT, postgresql_where=SHORT),
    Index("params_long", "experiment", "key", "run", sqlite_where=LONG, postgresql_where=LONG),
    Index("params_by_number", "experiment", "key", "number", "run", sqlite_where=_NUMBER, postgresql_where=_NUMBER),
    sqlite_with_rowid=False,
)

tags = Table(
    "tags",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("value", _Text, nullable=False),
    Column("experiment", BigInteger, nullable=False),
    # SearchRuns by tags.KEY
    Index("tags_by_value", "experiment", "key", "value", "run", sqlite_where=SHORT, postgresql_where=SHORT),
    Index("tags_long", "experiment", "key", "run", sqlite_where=LONG, postgresql_where=LONG),
    sqlite_with_rowid=False,
)

# One row per metric of a run: its latest point, and how many it has.
metrics = Table(
    "metrics",
    metadata,
    Column("id", Position, primary_key=True, autoincrement=True),
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("key", _Text, nullable=False),
    Column("experiment", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("value", Double),
    Column("points", BigInteger, nullable=False),
    UniqueConstraint("run", "key", name="metrics_of_run"),
    # SearchRuns by metrics.KEY
    Index("metrics_by_value", "experiment", "key", "value", "run"),
)

# Histories, each stored in the order in which it is read.
points = Table(
    "points",
    metadata,
    Column("metric", ForeignKey("metrics.id", ondelete="CASCADE"), nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),  # in the order of logging, from 1
    Column("value", Double),
    PrimaryKeyConstraint("metric", "step", "time", "place"),  # ListMetricPoints, SampleMetrics
    # WatchMetrics
    Index("points_by_place", "metric", "place"),
    sqlite_with_rowid=False,
)

# How far each stream of points is on disk: written together with the points.
streams = Table(
    "streams",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", _Text, primary_key=True),
    Column("acknowledged", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", Position, primary_key=True, autoincrement=True),
    Column("experiment", ForeignKey("experiments.number", ondelete="CASCADE"), nullable=False),
    Column("name", _Text, nullable=False),
    Column("digest", _Text, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("profile", Text, nullable=False),
    UniqueConstraint("experiment", "name", "digest", name="datasets_of_experiment"),
)

inputs = Table(
    "inputs",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("dataset", ForeignKey("datasets.id"), primary_key=True),
    # ListDatasets
    Index("inputs_by_dataset", "dataset"),
    sqlite_with_rowid=False,
)

input_tags = Table(
    "input_tags",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("dataset", ForeignKey("datasets.id"), primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("value", _Text, nullable=False),
    # ListDatasets
    Index("input_tags_by_dataset", "dataset", "key"),
    sqlite_with_rowid=False,
)

logged_models = Table(
    "logged_models",
    metadata,
    Column("id", _ModelId, primary_key=True),
    Column("experiment", ForeignKey("experiments.number", ondelete="CASCADE"), nullable=False),
    Column("display_name", _Text, nullable=False),
    Column("model_type", _Text, nullable=False),
    Column("source_run", _Id, nullable=False),  # "" for none; it stays when the run is purged
    Column("status", String(16), nullable=False),
    Column("status_message", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("deleted", BigInteger),  # by itself, as of runs
    Column("revision", Integer, nullable=False),
    # SearchLoggedModels by creation
    Index("logged_models_by_creation", "experiment", "created", "id"),
    # what is left to remove after a purge
    Index("logged_models_purged", "id", sqlite_where=_PURGED, postgresql_where=_PURGED),
)

logged_model_params = Table(
    "logged_model_params",
    metadata,
    Column("model", ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("value", _Text, nullable=False),
    Column("number", Double),  # the value as a number, for comparisons; NULL where it is none
    sqlite_with_rowid=False,
)

logged_model_tags = Table(
    "logged_model_tags",
    metadata,
    Column("model", ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("value", _Text, nullable=False),
    sqlite_with_rowid=False,
)

# The latest point of each metric of a logged model, by the run and dataset that it was measured by.
logged_model_metrics = Table(
    "logged_model_metrics",
    metadata,
    Column("model", ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("dataset", _Text, primary_key=True),  # "" where not said
    Column("digest", _Text, primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("value", Double),
    # the cascade of a run
    Index("logged_model_metrics_by_run", "run"),
    sqlite_with_rowid=False,
)

# Logged models that runs used, of any experiment.
model_inputs = Table(
    "model_inputs",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("model", ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True),
    # the cascade of a logged model
    Index("model_inputs_by_model", "model"),
    sqlite_with_rowid=False,
)

# Logged models that runs made.
model_outputs = Table(
    "model_outputs",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("model", ForeignKey("logged_models.id", ondelete="CASCADE"), primary_key=True),
    Column("step", BigInteger, nullable=False),
    # the cascade of a logged model
    Index("model_outputs_by_model", "model"),
    sqlite_with_rowid=False,
)

# One row per content that an artifact has, or had; it is the lock of who enters the content and who removes its bytes.
blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("parent", _ModelId, primary_key=True),  # a run or a logged model
    Column("path", _Text, primary_key=True),  # ListArtifacts, recursive
    Column("folder", _Text, nullable=False),  # that it lies in, "" for the top
    Column("sha256", ForeignKey("blobs.sha256")),  # NULL for a folder
    Column("created", BigInteger, nullable=False),
    # ListArtifacts
    Index("artifacts_in_folder", "parent", "folder", "path"),
    # which contents nothing has
    Index("artifacts_by_content", "sha256"),
)

# What has arrived of uploads that are not over.
uploads = Table(
    "uploads",
    metadata,
    Column("id", _Id, primary_key=True),  # the folder of its parts in the object store
    Column("parent", _ModelId, nullable=False),
    Column("path", _Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("subject", _Text, nullable=False),  # who uploads
    Column("writer", _Id, nullable=False),  # the call that may go on with it
    Column("received", BigInteger, nullable=False),  # bytes
    Column("touched", BigInteger, nullable=False),
    # GetUpload, and how much one caller has
    Index("uploads_of_subject", "subject", "parent", "path"),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload", ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    Column("start", BigInteger, primary_key=True),  # bytes before it
    Column("size", BigInteger, nullable=False),
    Column("writer", _Id, nullable=False),  # the call that stored it; in its key, so that no two write the same object
    sqlite_with_rowid=False,
)

runtime_tables.add_to(metadata)
