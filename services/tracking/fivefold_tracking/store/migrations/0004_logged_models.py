"""Logged models; artifacts belong to runs and to them; what has arrived of uploads is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fivefold_runtime.tables import Position

revision = "0004"
down_revision = "0003"

_Text = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
_Id = sa.String(32, collation="C").with_variant(sa.String(32), "sqlite")
_ModelId = sa.String(34, collation="C").with_variant(sa.String(34), "sqlite")


def upgrade() -> None:
    _logged_models()
    _of_runs()
    _artifacts()
    _uploads()
    purged = sa.text("deleted < 0")
    for table in ("runs", "logged_models"):
        op.create_index(f"{table}_purged", table, ["id"], sqlite_where=purged, postgresql_where=purged)
    op.create_index("inputs_by_dataset", "inputs", ["dataset"])
    op.create_index("input_tags_by_dataset", "input_tags", ["dataset", "key"])


def _logged_models() -> None:
    op.create_table(
        "logged_models",
        sa.Column("id", _ModelId, primary_key=True),
        sa.Column("experiment", Position, sa.ForeignKey("experiments.number", ondelete="CASCADE"), nullable=False),
        sa.Column("display_name", _Text, nullable=False),
        sa.Column("model_type", _Text, nullable=False),
        sa.Column("source_run", _Id, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_message", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.BigInteger),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_index("logged_models_by_creation", "logged_models", ["experiment", "created", "id"])
    for table, more in (("logged_model_params", [sa.Column("number", sa.Double)]), ("logged_model_tags", [])):
        op.create_table(
            table,
            _of_model(),
            sa.Column("key", _Text, primary_key=True),
            sa.Column("value", _Text, nullable=False),
            *more,
            sqlite_with_rowid=False,
        )


def _of_runs() -> None:
    op.create_table(
        "logged_model_metrics",
        _of_model(),
        sa.Column("key", _Text, primary_key=True),
        _of_run(),
        sa.Column("dataset", _Text, primary_key=True),
        sa.Column("digest", _Text, primary_key=True),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_index("logged_model_metrics_by_run", "logged_model_metrics", ["run"])
    op.create_table("model_inputs", _of_run(), _of_model(), sqlite_with_rowid=False)
    op.create_index("model_inputs_by_model", "model_inputs", ["model"])
    op.create_table(
        "model_outputs",
        _of_run(),
        _of_model(),
        sa.Column("step", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("model_outputs_by_model", "model_outputs", ["model"])


def _artifacts() -> None:
    """Copies the table: SQLite takes away no foreign key, and a parent may now be of two kinds."""
    op.drop_index("artifacts_by_folder", "artifacts")
    op.rename_table("artifacts", "artifacts_of_runs")
    op.create_table(
        "artifacts",
        sa.Column("parent", _ModelId, primary_key=True),
        sa.Column("path", _Text, primary_key=True),
        sa.Column("folder", _Text, nullable=False),
        sa.Column("sha256", sa.String(64), sa.ForeignKey("blobs.sha256")),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO artifacts SELECT run, path, folder, sha256, created FROM artifacts_of_runs")
    op.drop_table("artifacts_of_runs")
    op.create_index("artifacts_in_folder", "artifacts", ["parent", "folder", "path"])
    op.create_index("artifacts_by_content", "artifacts", ["sha256"])


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("parent", _ModelId, nullable=False),
        sa.Column("path", _Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("subject", _Text, nullable=False),
        sa.Column("writer", _Id, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("touched", sa.BigInteger, nullable=False),
    )
    op.create_index("uploads_of_subject", "uploads", ["subject", "parent", "path"])
    op.create_table(
        "upload_parts",
        sa.Column("upload", _Id, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("writer", _Id, nullable=False),
        sqlite_with_rowid=False,
    )


def _of_model() -> sa.Column[str]:
    owner = sa.ForeignKey("logged_models.id", ondelete="CASCADE")
    return sa.Column("model", _ModelId, owner, primary_key=True)


def _of_run() -> sa.Column[str]:
    return sa.Column("run", _Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
