"""The tables of jobs and trials. A trial goes with its job; each index names the RPC that needs it.

Times are microseconds since 1970, so that both databases give back exactly what they got.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from fivefold_runtime import tables as runtime_tables

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("spec", JSON, nullable=False),
    Column("creator", Text, nullable=False),
    Column("experiment", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("error", Text, nullable=False),
    Column("error_reason", Text, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("feature_spec", Text, nullable=False),
    Column("metric", String(32), nullable=False),
    Column("best_trial", Integer, nullable=False),
    Column("best_score", Double, nullable=False),
    Column("spent_seconds", Double, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("closed", Boolean, nullable=False),  # its end is in tracking too
    Column("revision", BigInteger, nullable=False),
    Index("jobs_by_state", "state"),  # resume
    Index("jobs_by_closed", "closed", "id"),  # recorder
)

trials = Table(
    "trials",
    metadata,
    Column("job", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("learner", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("score", Double),
    Column("rank", Double, nullable=False),  # smaller is better; NO_RANK without a score
    Column("run", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("ray_node", Text, nullable=False),
    Column("ray_worker", Text, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("packed", Boolean, nullable=False),
    Column("logged", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("trials_by_list_trials", "job", "rank", "number"),
    Index("trials_by_watch_job", "job", "revision"),
    Index("trials_by_logged", "logged", "job", "number"),  # recorder
)

#: The rank of a trial without a score: after every other, and a number in JSON.
NO_RANK = 1.7e308

runtime_tables.add_to(metadata)
