"""The first schema: tables, their versions, specs, training sets, and the runtime's own tables."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, Table, Text

from fivefold_runtime import tables as runtime_tables

revision = "0001"
down_revision = None

metadata = MetaData()

Table(
    "feature_tables",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("columns", Text, nullable=False),
    Column("primary_keys", Text, nullable=False),
    Column("timestamp_key", Text, nullable=False),
    Column("knowledge_key", Text, nullable=False),
    Column("publish_on_write", Boolean, nullable=False),
    Column("current_version", BigInteger, nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("online_version", BigInteger, nullable=False),
    Column("published", Boolean, nullable=False),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
)

Table(
    "table_versions",
    metadata,
    Column("table_uid", Text, ForeignKey("feature_tables.uid", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("base", BigInteger, nullable=False),
    Column("mode", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("rows_total", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

Table(
    "feature_specs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("description", Text, nullable=False),
    Column("lookups", Text, nullable=False),
    Column("features", Text, nullable=False),
    Column("keys", Text, nullable=False),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

Table(
    "feature_spec_tables",
    metadata,
    Column("spec", Text, ForeignKey("feature_specs.id", ondelete="CASCADE"), primary_key=True),
    Column("table_uid", Text, ForeignKey("feature_tables.uid"), primary_key=True),
    Index("feature_spec_tables_by_table", "table_uid"),
)

Table(
    "training_sets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("spec", Text, ForeignKey("feature_specs.id"), nullable=False, index=True),
    Column("timestamp_column", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("exclude", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("columns", Text, nullable=False),
    Column("label_digest", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

Table(
    "training_set_tables",
    metadata,
    Column("training_set", Text, ForeignKey("training_sets.id", ondelete="CASCADE"), primary_key=True),
    Column("table_uid", Text, ForeignKey("feature_tables.uid"), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Index("training_set_tables_by_table", "table_uid", "version"),
)


def upgrade() -> None:
    runtime_tables.create(op)
    metadata.create_all(op.get_bind())
