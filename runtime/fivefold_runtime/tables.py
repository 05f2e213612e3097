"""The runtime's own tables, which every service's database has: answers by request id, outbox, grants.

`add_to(metadata)` declares them; `create(op)` makes them in a service's first migration. A change to them is a new
function here that each service's next migration calls.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

#: 64-bit keys that count by themselves: SQLite does so only for INTEGER.
Position = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

answers = Table(
    "answers",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the request
    Column("kind", Text),  # full name of the answer's message type; NULL: not answered yet
    Column("body", LargeBinary),
    Column("claim", Text, nullable=False),  # who works on it, for calls that are not one transaction
    Column("made", BigInteger, nullable=False),  # microseconds since 1970
    Index("answers_by_age", "made"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("made", BigInteger, nullable=False),  # microseconds since 1970
    Index("outbox_by_topic_and_key", "topic", "key", "position"),
    sqlite_autoincrement=True,  # A position is never given out twice, not even after the newest row was deleted.
)

grants = Table(
    "grants",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("level", SmallInteger, nullable=False),
    Index("grants_by_principal", "principal", "resource"),
)


def add_to(target: MetaData) -> None:
    """Declares the tables in a service's own MetaData, for tests that compare it with the migrated schema."""
    for table in metadata.sorted_tables:
        table.to_metadata(target)


def create(op: Any) -> None:
    """Makes the tables; called with `alembic.op` by a service's first migration."""
    metadata.create_all(op.get_bind())
