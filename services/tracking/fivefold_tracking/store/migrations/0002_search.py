"""What searches read along: params as numbers, tags by experiment, an index for each kind of filter; and where clients
keep the artifacts of an experiment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fivefold_tracking.params import number_of

revision = "0002"
down_revision = "0001"

_AT_ONCE = 1000  # params that are read, then written


def upgrade() -> None:
    op.add_column("experiments", sa.Column("artifact_location", sa.Text, nullable=False, server_default=""))
    op.add_column("params", sa.Column("number", sa.Double))
    op.add_column("tags", sa.Column("experiment", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE tags SET experiment = (SELECT runs.experiment FROM runs WHERE runs.id = tags.run)")
    _fill_numbers()
    op.drop_index("params_by_key", "params")
    for table in ("params", "tags"):
        _index(f"{table}_by_value", table, ["experiment", "key", "value", "run"], "length(value) <= 500")
        _index(f"{table}_long", table, ["experiment", "key", "run"], "length(value) > 500")
    _index("params_by_number", "params", ["experiment", "key", "number", "run"], "number IS NOT NULL")
    _index("runs_deleted", "runs", ["experiment", "deleted", "id"], "deleted IS NOT NULL")
    op.create_index("runs_by_status", "runs", ["experiment", "status", "id"])
    op.create_index("runs_by_display_name", "runs", ["experiment", "display_name", "id"])


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _fill_numbers() -> None:
    """Writes the numbers of the params that are there, in the order of their key and a part at a time."""
    connection = op.get_bind()
    params = sa.table("params", sa.column("run"), sa.column("key"), sa.column("value"), sa.column("number"))
    place = sa.tuple_(params.c.run, params.c.key)
    writing = (
        sa.update(params)
        .where(params.c.run == sa.bindparam("of"), params.c.key == sa.bindparam("named"))
        .values(number=sa.bindparam("is"))
    )
    query = sa.select(params.c.run, params.c.key, params.c.value).order_by(params.c.run, params.c.key).limit(_AT_ONCE)
    rows = connection.execute(query).all()
    while rows:
        numbers = [{"of": row.run, "named": row.key, "is": number_of(row.value)} for row in rows]
        numbers = [each for each in numbers if each["is"] is not None]
        if numbers:
            connection.execute(writing, numbers)
        last = sa.tuple_(sa.literal(rows[-1].run), sa.literal(rows[-1].key))
        rows = connection.execute(query.where(place > last)).all()
