"""The registry's tables. Everything of a model goes with its row; each index names the RPC that needs it.

Times are microseconds since 1970, so that both databases give back exactly what they got.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from fivefold_runtime import tables as runtime_tables

metadata = MetaData()
_Json = JSON().with_variant(JSONB(), "postgresql")

models = Table(
    "models",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text(collation="C").with_variant(Text(), "sqlite"), nullable=False, unique=True),  # ListModels
    Column("description", Text, nullable=False),
    Column("tags", _Json, nullable=False),
    Column("one_production", Boolean, nullable=False),
    Column("stepwise", Boolean, nullable=False),
    Column("no_self_approval", Boolean, nullable=False),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("versions", Integer, nullable=False),  # numbers given out
    Column("activities", BigInteger, nullable=False),  # sequence numbers given out
    Column("stage_names", _Json, nullable=False, server_default="{}"),  # {stage: own name}
    Column("head", String(64), nullable=False, server_default=""),  # hash of the last activity
    # ListModels by time
    Index("models_by_creation", "created", "name"),
    Index("models_by_update", "updated", "name"),
)

versions = Table(
    "versions",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("sole", Boolean, nullable=False),  # in Production, under a policy that allows one
    Column("status", String(16), nullable=False),
    Column("status_message", Text, nullable=False),
    Column("attempt", String(64), nullable=False),  # digest of the call that made it, "" when it had no request_id
    Column("copier", String(32), nullable=False),  # the copy that owns it while PENDING
    Column("beats", Integer, nullable=False),  # signs of life of that copy
    Column("description", Text, nullable=False),
    Column("tags", _Json, nullable=False),
    Column("source", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("experiment", Text, nullable=False),
    Column("training_set", Text, nullable=False),
    Column("table_versions", _Json, nullable=False),
    Column("job", Text, nullable=False),
    Column("feature_spec", Text, nullable=False),
    Column("inputs", _Json, nullable=False),  # [[name, type, required], …]
    Column("outputs", _Json, nullable=False),
    Column("flavors", _Json, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("external_uri", Text, nullable=False, server_default=""),  # instead of a source
    Column("copied_from", Text, nullable=False, server_default=""),  # name of a version, as it was then
    Column("logged_model", Text, nullable=False, server_default=""),
    # ListModelVersions of all models, by time or of one run
    Index("versions_by_creation", "created", "model_id", "number"),
    Index("versions_by_update", "updated", "model_id", "number"),
    Index("versions_by_run", "run"),
    # GetModel, ListModelVersions, TransitionStage
    Index("versions_by_stage", "model_id", "stage", "number"),
    # The rule "one Production" of models that have it, whatever code says.
    Index("versions_one_production", "model_id", unique=True, sqlite_where=text("sole"), postgresql_where=text("sole")),
    Index(
        "versions_pending",
        "model_id",
        "number",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
)


def _of_version() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"], ondelete="CASCADE")


files = Table(
    "files",
    metadata,
    Column("model_id", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("sha256", ForeignKey("blobs.sha256"), nullable=False),
    _of_version(),
    Index("files_by_blob", "sha256"),
)

# One row per content that a version has or is about to have; the row is the lock between a copy and a removal.
blobs = Table("blobs", metadata, Column("sha256", String(64), primary_key=True))

# What is kept of a version that was deleted; what happened to it is among the activities.
deleted_versions = Table(
    "deleted_versions",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("deleted", BigInteger, nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model_id", String(32), primary_key=True),
    Column("alias", Text(collation="C").with_variant(Text(), "sqlite"), primary_key=True),
    Column("number", Integer, nullable=False),
    _of_version(),
    Index("aliases_by_version", "model_id", "number"),
)

requests = Table(
    "requests",
    metadata,
    Column("model_id", String(32), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # of the activity that made it
    Column("number", Integer, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("creator", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("settled_by", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("settled", BigInteger),
    _of_version(),
    # ListTransitionRequests
    Index("requests_by_version", "model_id", "number", "sequence"),
)

comments = Table(
    "comments",
    metadata,
    Column("model_id", String(32), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # of the activity that made it
    Column("number", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger),  # when its text was last changed
    _of_version(),
    # ListComments of one version
    Index("comments_by_version", "model_id", "number", "sequence"),
)

# Tells which key the hashes of this database's activities are made with; one row.
chain_key = Table(
    "chain_key",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mark", String(64), nullable=False),
)

# Never updated and never deleted but with their model: `sequence` counts them per model, without gaps.
activities = Table(
    "activities",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),  # of a version that may be gone
    Column("type", String(32), nullable=False),
    Column("user", Text, nullable=False),
    Column("from_stage", String(16)),
    Column("to_stage", String(16)),
    Column("comment", Text, nullable=False),  # a comment's text is in `comments`
    Column("created", BigInteger, nullable=False),
    Column("rollback", Boolean, nullable=False),
    Column("passage", Boolean, nullable=False),  # counts for RollBack: brought to Production, or moved by a rollback
    Column("subject", BigInteger, nullable=False, server_default="0"),  # sequence of the comment that it is about
    Column("digest", String(64), nullable=False, server_default=""),  # of that comment's text
    Column("hash", String(64), nullable=False, server_default=""),  # see chain.py
    # ListActivities of one version
    Index("activities_by_version", "model_id", "number", "sequence"),
    # RollBack
    Index(
        "activities_of_passages",
        "model_id",
        "sequence",
        sqlite_where=text("passage = 1"),
        postgresql_where=text("passage"),
    ),
)

runtime_tables.add_to(metadata)
