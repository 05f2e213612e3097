"""Aliases, own names of stages, versions whose files are elsewhere, deleted versions, and a chain of activities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

_Json = sa.JSON().with_variant(JSONB(), "postgresql")
_FIRST = 'model_id, sequence, number, type, "user", from_stage, to_stage, comment, created, rollback, passage'


def upgrade() -> None:
    _add("models", sa.Column("stage_names", _Json, nullable=False, server_default="{}"))
    _add("models", sa.Column("head", sa.String(64), nullable=False, server_default=""))
    op.create_index("models_by_creation", "models", ["created", "name"])
    op.create_index("models_by_update", "models", ["updated", "name"])
    for name in ("external_uri", "copied_from", "logged_model"):
        _add("versions", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.create_index("versions_by_creation", "versions", ["created", "model_id", "number"])
    op.create_index("versions_by_update", "versions", ["updated", "model_id", "number"])
    op.create_index("versions_by_run", "versions", ["run"])
    _add("comments", sa.Column("updated", sa.BigInteger))
    op.create_index("comments_by_version", "comments", ["model_id", "number", "sequence"])
    op.create_table(
        "aliases",
        sa.Column("model_id", sa.String(32), primary_key=True),
        sa.Column("alias", sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"], ondelete="CASCADE"),
    )
    op.create_index("aliases_by_version", "aliases", ["model_id", "number"])
    op.create_table(
        "deleted_versions",
        sa.Column("model_id", sa.String(32), sa.ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "chain_key",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("mark", sa.String(64), nullable=False),
    )
    _activities()


def _activities() -> None:
    """Makes the table anew: what happened to a version outlives it, which the first schema did not let it."""
    op.rename_table("activities", "activities_0001")
    for index in ("activities_by_version", "activities_of_passages"):
        op.drop_index(index)
    op.create_table(
        "activities",
        sa.Column("model_id", sa.String(32), sa.ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
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
        sa.Column("subject", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("digest", sa.String(64), nullable=False, server_default=""),
        sa.Column("hash", sa.String(64), nullable=False, server_default=""),
    )
    op.execute(f"INSERT INTO activities ({_FIRST}) SELECT {_FIRST} FROM activities_0001")
    op.drop_table("activities_0001")
    op.create_index("activities_by_version", "activities", ["model_id", "number", "sequence"])
    op.create_index(
        "activities_of_passages",
        "activities",
        ["model_id", "sequence"],
        sqlite_where=sa.text("passage = 1"),
        postgresql_where=sa.text("passage"),
    )


def _add(table: str, column: sa.Column) -> None:
    op.add_column(table, column)
