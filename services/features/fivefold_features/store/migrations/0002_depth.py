"""Owner and freshness of tables, producers of versions, what compaction and vacuum left, labels of training sets, tags
and functions of specs, and who uses what."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _add("feature_tables", _text("owner"), _number("freshness"), _number("newest_event"), _number("written"))
    _add("table_versions", _text("producer"), _number("newest_event"))
    _add("table_versions", _flag("vacuumed"), _flag("retired"), _flag("ordered"))
    _add("feature_specs", _text("tags", "{}"), _text("functions", "[]"), _text("inputs", "[]"), _flag("deleted"))
    _add("training_sets", _text("labels_key"), sa.Column("label_columns", sa.Text, nullable=True))
    op.execute("UPDATE feature_tables SET owner = creator")
    op.execute(
        "UPDATE feature_tables SET written = (SELECT max(table_versions.created) FROM table_versions"
        " WHERE table_versions.table_uid = feature_tables.uid)"
    )
    op.create_table(
        "table_compactions",
        sa.Column("table_uid", sa.Text, sa.ForeignKey("feature_tables.uid", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("base", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "retired_files",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("retired", sa.BigInteger, nullable=False),
    )
    op.create_index("retired_files_due", "retired_files", ["retired"])
    op.create_table(
        "consumers",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("creator", sa.Text, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("consumers_by_consumer", "consumers", ["consumer"])
    op.create_index("training_sets_by_creation", "training_sets", ["created", "id"])


def _add(table: str, *columns: sa.Column[Any]) -> None:
    for column in columns:
        op.add_column(table, column)


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=True)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
