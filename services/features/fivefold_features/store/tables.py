"""The SQL tables of this service; `migrations/` makes them. Times are microseconds since 1970, lists are JSON."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, Table, Text, false

from fivefold_runtime import tables as runtime_tables

metadata = MetaData()

feature_tables = Table(
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
    Column("owner", Text, nullable=False, server_default=""),
    Column("freshness", BigInteger),
    Column("newest_event", BigInteger),  # of all writes since `base`
    Column("written", BigInteger),  # when rows were written last
)

versions = Table(
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
    Column("producer", Text, nullable=False, server_default=""),
    Column("newest_event", BigInteger),
    Column("vacuumed", Boolean, nullable=False, server_default=false()),  # cannot be read any more
    Column("retired", Boolean, nullable=False, server_default=false()),  # no kept version needs its file any more
    Column("ordered", Boolean, nullable=False, server_default=false()),  # the file's rows are ordered by identity
)

compactions = Table(
    "table_compactions",
    metadata,
    Column("table_uid", Text, ForeignKey("feature_tables.uid", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),  # has all rows of this version
    Column("base", BigInteger, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("rows", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
)

retired_files = Table(
    "retired_files",
    metadata,
    Column("key", Text, primary_key=True),
    Column("retired", BigInteger, nullable=False),
    Index("retired_files_due", "retired"),
)


specs = Table(
    "feature_specs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("description", Text, nullable=False),
    Column("lookups", Text, nullable=False),
    Column("features", Text, nullable=False),
    Column("keys", Text, nullable=False),
    Column("creator", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("tags", Text, nullable=False, server_default="{}"),
    Column("functions", Text, nullable=False, server_default="[]"),
    Column("inputs", Text, nullable=False, server_default="[]"),
    Column("deleted", Boolean, nullable=False, server_default=false()),  # the name is not given to another spec
)

spec_tables = Table(
    "feature_spec_tables",
    metadata,
    Column("spec", Text, ForeignKey("feature_specs.id", ondelete="CASCADE"), primary_key=True),
    Column("table_uid", Text, ForeignKey("feature_tables.uid"), primary_key=True),
    Index("feature_spec_tables_by_table", "table_uid"),
)

training_sets = Table(
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
    Column("labels_key", Text, nullable=False, server_default=""),  # file of the label columns that are left out
    Column("label_columns", Text),  # all columns of the label frame, in order; NULL: made before they were kept
    Index("training_sets_by_creation", "created", "id"),  # ListTrainingSets
)

training_set_tables = Table(
    "training_set_tables",
    metadata,
    Column("training_set", Text, ForeignKey("training_sets.id", ondelete="CASCADE"), primary_key=True),
    Column("table_uid", Text, ForeignKey("feature_tables.uid"), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Index("training_set_tables_by_table", "table_uid", "version"),
)

consumers = Table(
    "consumers",
    metadata,
    Column("source", Text, primary_key=True),
    Column("consumer", Text, primary_key=True),
    Column("creator", Text, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Index("consumers_by_consumer", "consumer"),
)

runtime_tables.add_to(metadata)
