"""The first schema: experiments, runs, what runs log, and the entries of their artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fivefold_runtime import tables as runtime_tables
from fivefold_runtime.tables import Position

revision = "0001"
down_revision = None

_Text = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
_Id = sa.String(32, collation="C").with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    runtime_tables.create(op)
    _experiments()
    _runs()
    _metrics()
    _datasets()
    _artifacts()


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("number", Position, primary_key=True, autoincrement=True),
        sa.Column("display_name", _Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.BigInteger),
        sa.Column("revision", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    active = sa.text("deleted IS NULL")
    op.create_index(
        "experiments_active_name",
        "experiments",
        ["display_name"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_table(
        "experiment_tags",
        _of_experiment(primary_key=True),
        sa.Column("key", _Text, primary_key=True),
        sa.Column("value", _Text, nullable=False),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _Id, primary_key=True),
        _of_experiment(nullable=False),
        sa.Column("display_name", _Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("user", _Text, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("parent", _Id, nullable=False),
        sa.Column("source_type", sa.String(16), nullable=False),
        sa.Column("source_name", sa.Text, nullable=False),
        sa.Column("entry_point", sa.Text, nullable=False),
        sa.Column("git_commit", sa.Text, nullable=False),
        sa.Column("git_repo", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.BigInteger),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_index("runs_by_start", "runs", ["experiment", "started", "id"])
    nested = sa.text("parent <> ''")
    op.create_index("runs_by_parent", "runs", ["parent"], sqlite_where=nested, postgresql_where=nested)
    op.create_table(
        "params",
        _of_run(primary_key=True),
        sa.Column("key", _Text, primary_key=True),
        sa.Column("value", _Text, nullable=False),
        sa.Column("experiment", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("params_by_key", "params", ["experiment", "key", "run"])
    op.create_table(
        "tags",
        _of_run(primary_key=True),
        sa.Column("key", _Text, primary_key=True),
        sa.Column("value", _Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("id", Position, primary_key=True, autoincrement=True),
        _of_run(nullable=False),
        sa.Column("key", _Text, nullable=False),
        sa.Column("experiment", sa.BigInteger, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("run", "key", name="metrics_of_run"),
    )
    op.create_index("metrics_by_value", "metrics", ["experiment", "key", "value", "run"])
    op.create_table(
        "points",
        sa.Column("metric", Position, sa.ForeignKey("metrics.id", ondelete="CASCADE"), nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.PrimaryKeyConstraint("metric", "step", "time", "place"),
        sqlite_with_rowid=False,
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", Position, primary_key=True, autoincrement=True),
        _of_experiment(nullable=False),
        sa.Column("name", _Text, nullable=False),
        sa.Column("digest", _Text, nullable=False),
        sa.Column("source_type", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.UniqueConstraint("experiment", "name", "digest", name="datasets_of_experiment"),
    )
    op.create_table(
        "inputs",
        _of_run(primary_key=True),
        sa.Column("dataset", Position, sa.ForeignKey("datasets.id"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "input_tags",
        _of_run(primary_key=True),
        sa.Column("dataset", Position, sa.ForeignKey("datasets.id"), primary_key=True),
        sa.Column("key", _Text, primary_key=True),
        sa.Column("value", _Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _artifacts() -> None:
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "artifacts",
        _of_run(primary_key=True),
        sa.Column("path", _Text, primary_key=True),
        sa.Column("folder", _Text, nullable=False),
        sa.Column("sha256", sa.String(64), sa.ForeignKey("blobs.sha256")),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_index("artifacts_by_folder", "artifacts", ["run", "folder", "path"])


def _of_experiment(*, primary_key: bool = False, nullable: bool = False) -> sa.Column[int]:
    owner = sa.ForeignKey("experiments.number", ondelete="CASCADE")
    return sa.Column("experiment", Position, owner, primary_key=primary_key, nullable=nullable)


def _of_run(*, primary_key: bool = False, nullable: bool = False) -> sa.Column[str]:
    owner = sa.ForeignKey("runs.id", ondelete="CASCADE")
    return sa.Column("run", _Id, owner, primary_key=primary_key, nullable=nullable)
