"""Tables of what leaves the registry: webhooks, deliveries and the courier that makes them, who hears of what by mail.

Times are microseconds since 1970. A delivery's `sink` says where it goes: `webhooks/{webhook}` or `mail/{subject}`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from fivefold_registry.store.tables import metadata

_Json = JSON().with_variant(JSONB(), "postgresql")

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE")),  # NULL: the whole registry
    Column("events", _Json, nullable=False),
    Column("status", String(16), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),  # as `Seal` made it, "" when there is none
    Column("description", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("owner_groups", _Json, nullable=False),  # as of the token that it was made or last changed with
    Column("begin", BigInteger, nullable=False),  # position of the last event before it
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    # ListWebhooks
    Index("webhooks_by_model", "model_id", "id"),
)

# Of one sink and model only the first that is pending has a `due`: the others wait for it.
deliveries = Table(
    "deliveries",
    metadata,
    Column("sink", Text, primary_key=True),  # ListDeliveries
    Column("position", BigInteger, primary_key=True, autoincrement=False),  # of its event
    Column("model_id", String(32), nullable=False),
    Column("model", Text, nullable=False),  # its id in names, as it was then
    Column("event", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", BigInteger),  # when it is sent next
    Column("happened", BigInteger, nullable=False),
    Column("begun", BigInteger, nullable=False),  # when it was written, or last told to begin again
    Column("tried", BigInteger),
    Column("status_code", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Index("deliveries_due", "due", sqlite_where=text("due IS NOT NULL"), postgresql_where=text("due IS NOT NULL")),
    Index(
        "deliveries_pending",
        "sink",
        "model_id",
        "position",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "deliveries_over",
        "begun",
        sqlite_where=text("state <> 'pending'"),
        postgresql_where=text("state <> 'pending'"),
    ),
)

# One row, the lock of everything that is done to deliveries.
courier = Table(
    "courier",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String(32), nullable=False),  # the server that delivers, "" when none does
    Column("beats", BigInteger, nullable=False),  # its signs of life
    Column("position", BigInteger, nullable=False),  # events up to here have become deliveries
    Column("trimmed", BigInteger, nullable=False),  # events up to here may be gone from the outbox
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("activity", String(20), nullable=False),
    Column("email", Text, nullable=False),  # "": the one in `people`
    Column("updated", BigInteger, nullable=False),
    # who hears of an event
    Index("subscriptions_by_model", "model_id", "activity"),
)

followers = Table(
    "followers",
    metadata,
    Column("model_id", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("subject", Text, primary_key=True),
    ForeignKeyConstraint(["model_id", "number"], ["versions.model_id", "versions.number"], ondelete="CASCADE"),
    # GetSubscription
    Index("followers_by_subject", "subject", "model_id", "number"),
)

# What the last token said of somebody who changed something.
people = Table(
    "people",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("email", Text, nullable=False),
    Column("groups", _Json, nullable=False),
)
