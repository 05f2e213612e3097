"""Webhooks and their deliveries, mail subscriptions, followers and people's addresses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

_Json = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("model_id", sa.String(32), sa.ForeignKey("models.id", ondelete="CASCADE")),
        sa.Column("events", _Json, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("owner_groups", _Json, nullable=False),
        sa.Column("begin", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_index("webhooks_by_model", "webhooks", ["model_id", "id"])
    _deliveries()
    _people()


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("model_id", sa.String(32), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("happened", sa.BigInteger, nullable=False),
        sa.Column("begun", sa.BigInteger, nullable=False),
        sa.Column("tried", sa.BigInteger),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    due = sa.text("due IS NOT NULL")
    op.create_index("deliveries_due", "deliveries", ["due"], sqlite_where=due, postgresql_where=due)
    pending, over = sa.text("state = 'pending'"), sa.text("state <> 'pending'")
    op.create_index(
        "deliveries_pending",
        "deliveries",
        ["sink", "model_id", "position"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_index("deliveries_over", "deliveries", ["begun"], sqlite_where=over, postgresql_where=over)
    op.create_table(
        "courier",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("trimmed", sa.BigInteger, nullable=False),
    )
    # What happened before this schema is told to nobody.
    op.execute("INSERT INTO courier SELECT 1, '', 0, coalesce(max(position), 0), 0 FROM outbox")


def _people() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("model_id", sa.String(32), sa.ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("activity", sa.String(20), nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.create_index("subscriptions_by_model", "subscriptions", ["model_id", "activity"])
    op.create_table(
        "followers",
        sa.Column("model_id", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"], ondelete="CASCADE"),
    )
    op.create_index("followers_by_subject", "followers", ["subject", "model_id", "number"])
    op.create_table(
        "people",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("groups", _Json, nullable=False),
    )
