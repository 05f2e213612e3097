"""How far streams of points are on disk; an index along which points are read in the order of logging."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_Text = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
_Id = sa.String(32, collation="C").with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    op.create_table(
        "streams",
        sa.Column("run", _Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", _Text, primary_key=True),
        sa.Column("acknowledged", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("points_by_place", "points", ["metric", "place"])
