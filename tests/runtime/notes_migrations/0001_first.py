"""The first schema of the notes service."""

import sqlalchemy as sa
from alembic import op

from fivefold_runtime import tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    tables.create(op)
    op.create_table("notes", sa.Column("name", sa.Text, primary_key=True), sa.Column("text", sa.Text, nullable=False))
