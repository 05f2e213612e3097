"""The first schema: models, versions and their files, requests, comments, activities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from fivefold_runtime import tables as runtime_tables

revision = "0001"
down_revision = None

_Json = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    runtime_tables.create(op)
    op.create_table(
        "models",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=False, unique=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", _Json, nullable=False),
        sa.Column("one_production", sa.Boolean, nullable=False),
        sa.Column("stepwise", sa.Boolean, nullable=False),
        sa.Column("no_self_approval", sa.Boolean, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("versions", sa.Integer, nullable=False),
        sa.Column("activities", sa.BigInteger, nullable=False),
    )
    _versions()
    op.create_table("blobs", sa.Column("sha256", sa.String(64), primary_key=True))
    op.create_table(
        "files",
        sa.Column("model_id", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), sa.ForeignKey("blobs.sha256"), nullable=False),
        _of_version(),
    )
    op.create_index("files_by_blob", "files", ["sha256"])
    op.create_table(
        "requests",
        sa.Column("model_id", sa.String(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("settled_by", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("settled", sa.BigInteger),
        _of_version(),
    )
    op.create_index("requests_by_version", "requests", ["model_id", "number", "sequence"])
    op.create_table(
        "comments",
        sa.Column("model_id", sa.String(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        _of_version(),
    )
    _activities()


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("model_id", sa.String(32), sa.ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("sole", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_message", sa.Text, nullable=False),
        sa.Column("attempt", sa.String(64), nullable=False),
        sa.Column("copier", sa.String(32), nullable=False),
        sa.Column("beats", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", _Json, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("training_set", sa.Text, nullable=False),
        sa.Column("table_versions", _Json, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("feature_spec", sa.Text, nullable=False),
        sa.Column("inputs", _Json, nullable=False),
        sa.Column("outputs", _Json, nullable=False),
        sa.Column("flavors", _Json, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_index("versions_by_stage", "versions", ["model_id", "stage", "number"])
    _partial_index("versions_one_production", "versions", ["model_id"], "sole", unique=True)
    _partial_index("versions_pending", "versions", ["model_id", "number"], "status = 'pending'")


def _activities() -> None:
    op.create_table(
        "activities",
        sa.Column("model_id", sa.String(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("from_stage", sa.String(16)),
        sa.Column("to_stage", sa.String(16)),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("rollback", sa.Boolean, nullable=False),
        sa.Column("passage", sa.Boolean, nullable=False),
        _of_version(),
    )
    op.create_index("activities_by_version", "activities", ["model_id", "number", "sequence"])
    op.create_index(
        "activities_of_passages",
        "activities",
        ["model_id", "sequence"],
        sqlite_where=sa.text("passage = 1"),
        postgresql_where=sa.text("passage"),
    )


def _of_version() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"], ondelete="CASCADE")


def _partial_index(name: str, table: str, columns: list[str], where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
