"""Jobs and trials, and the runtime's own tables."""

import sqlalchemy as sa
from alembic import op

from fivefold_runtime import tables as runtime_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    runtime_tables.create(op)
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("error_reason", sa.Text, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("feature_spec", sa.Text, nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("best_trial", sa.Integer, nullable=False),
        sa.Column("best_score", sa.Double, nullable=False),
        sa.Column("spent_seconds", sa.Double, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("started", sa.BigInteger),
        sa.Column("ended", sa.BigInteger),
        sa.Column("closed", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("jobs_by_state", "jobs", ["state"])
    op.create_index("jobs_by_closed", "jobs", ["closed", "id"])
    op.create_table(
        "trials",
        sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("learner", sa.Text, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("rank", sa.Double, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("ray_node", sa.Text, nullable=False),
        sa.Column("ray_worker", sa.Text, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("packed", sa.Boolean, nullable=False),
        sa.Column("logged", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("trials_by_list_trials", "trials", ["job", "rank", "number"])
    op.create_index("trials_by_watch_job", "trials", ["job", "revision"])
    op.create_index("trials_by_logged", "trials", ["logged", "job", "number"])
