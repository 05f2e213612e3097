"""What is known of tables, versions, specs and training sets: records, and what a metadata store promises.

`sql.py` keeps the promises on SQLite and PostgreSQL. Records are frozen: nothing that leaves a store changes under it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from fivefold_features.lookups import Lookup
from fivefold_features.offline import Part
from fivefold_features.schema import Column, Schema


class Mode(StrEnum):
    """How a write treats what is there; named as WriteMode."""

    MERGE = "MERGE"
    OVERWRITE = "OVERWRITE"


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A feature table.

    uid              32 hex digits, never used again, under which its files and online values are kept
    current_version  number of the newest version, 0 before the first write
    base             number of the newest OVERWRITE up to `current_version`, 0 if there is none: older versions do not
                     count
    online_version   all versions up to this one have been offered to the online store
    """

    id: str
    uid: str
    description: str
    tags: Mapping[str, str]
    schema: Schema
    publish_on_write: bool
    current_version: int
    base: int
    online_version: int
    published: bool
    creator: str
    created: datetime
    updated: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What one write made. `rows_total`: rows of all writes since `base`, those that a MERGE replaced included."""

    table: str
    number: int
    base: int
    mode: Mode
    rows: int
    rows_total: int
    digest: str
    creator: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """A file of rows in the history that is to become a version."""

    mode: Mode
    rows: int
    digest: str
    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a table to read: number 0 has no parts. `base` as in TableRecord. `parts`: oldest first."""

    table: TableRecord
    version: int
    base: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class SpecRecord:
    """A feature spec; its lookups are completed, so they say everything."""

    id: str
    description: str
    lookups: tuple[Lookup, ...]
    features: tuple[Column, ...]
    keys: tuple[Column, ...]
    creator: str
    created: datetime


@dataclass(frozen=True, slots=True)
class TrainingSetRecord:
    """A training set. `versions`: the version that was read of each table, by table id."""

    id: str
    spec: str
    timestamp_column: str
    labels: tuple[str, ...]
    exclude: tuple[str, ...]
    versions: Mapping[str, int]
    rows: int
    columns: tuple[Column, ...]
    label_digest: str
    digest: str
    key: str
    creator: str
    created: datetime


class MetadataStore(Protocol):
    """Each method is one transaction, or part of the running `@mutation`. Missing things raise NotFound."""

    def add_table(
        self, table: str, schema: Schema, *, description: str, tags: Mapping[str, str], publish_on_write: bool
    ) -> TableRecord:
        """Makes a table that the caller manages. Raises AlreadyExists."""
        ...

    def table(self, table: str) -> TableRecord: ...

    def tables(self, after: str, limit: int) -> list[TableRecord]:
        """Returns the tables that the caller may read, by id, after an id."""
        ...

    def update_table(
        self,
        table: str,
        revision: int | None,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        columns: tuple[Column, ...] | None = None,
        publish_on_write: bool | None = None,
    ) -> TableRecord:
        """Changes what is not None. Raises EtagMismatch unless it has `revision` (None: any), SchemaMismatch for
        columns that are not the present ones with more at the end."""
        ...

    def delete_table(self, table: str) -> TableRecord:
        """Deletes a table and its versions. Raises TableInUse while a spec refers to it."""
        ...

    def add_version(self, table: TableRecord, written: Written) -> VersionRecord:
        """Makes a written file the table's next version. Concurrent writers all get one, numbered as they commit."""
        ...

    def versions(self, table: str, before: int | None, limit: int) -> list[VersionRecord]:
        """Returns versions, newest first, below a number."""
        ...

    def snapshot(self, tables: Sequence[str], version: int = 0, *, after: int = 0) -> list[Snapshot]:
        """Returns the same moment of all tables; with one table, a version of it (0: the newest).

        after  only the parts of later versions than this are read
        """
        ...

    def offered_online(self, table: TableRecord, version: int) -> None:
        """Remembers that the table is online, and that versions up to this one were offered; never goes back."""
        ...

    def add_spec(self, spec: str, description: str, lookups: Sequence[Lookup]) -> SpecRecord:
        """Makes a spec of lookups; returns the present one when it is equal. Raises AlreadyExists, and what
        `lookups.resolve` raises."""
        ...

    def spec(self, spec: str) -> SpecRecord: ...

    def specs(self, after: str, limit: int) -> list[SpecRecord]:
        """Returns the specs that the caller may read, by id, after an id."""
        ...

    def add_training_set(self, record: TrainingSetRecord) -> TrainingSetRecord:
        """Keeps a training set that the caller manages; time and creator are set here."""
        ...

    def training_set(self, training_set: str) -> TrainingSetRecord: ...

    def unnamed(self, keys: Collection[str]) -> set[str]:
        """Returns those keys of files that no version and no training set names."""
        ...
