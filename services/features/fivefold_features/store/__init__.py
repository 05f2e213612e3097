"""What is known of tables, versions, specs and training sets: records, and what a metadata store promises.

`sql.py` keeps the promises on SQLite and PostgreSQL. Records are frozen: nothing that leaves a store changes under it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from fivefold_features.functions import FunctionUse, Installed
from fivefold_features.lookups import Lookup
from fivefold_features.offline import Part
from fivefold_features.schema import Column, Schema
from fivefold_features.searches import Search
from fivefold_runtime.masks import Entries
from fivefold_runtime.paging import Key


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
    newest_event     microseconds of the newest event of all writes since `base`
    written          microseconds of the last write; None before the first
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
    owner: str = ""
    freshness: timedelta | None = None
    newest_event: int | None = None
    written: int | None = None


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What one write made.

    rows_total  rows of all writes since `base`, those that a MERGE replaced included
    producer    what wrote it, as the write said
    vacuumed    its rows were given up
    """

    table: str
    number: int
    base: int
    mode: Mode
    rows: int
    rows_total: int
    digest: str
    creator: str
    created: datetime
    producer: str = ""
    vacuumed: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A file of rows in the history that is to become a version.

    newest_event  microseconds; None for a table without time stamps
    ordered       the rows are ordered by identity
    """

    mode: Mode
    rows: int
    digest: str
    key: str
    size_bytes: int
    newest_event: int | None = None
    ordered: bool = False
    producer: str = ""


@dataclass(frozen=True, slots=True)
class Compacted:
    """A file with all rows of a version, those that later writes replaced left out, ordered by identity."""

    key: str
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction of a version did; version 0: the table has none."""

    version: int
    files_before: int
    rows_before: int
    rows_after: int


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What a vacuum gave up: numbers of versions, oldest first; files that nothing reads, and their size in bytes."""

    given_up: tuple[int, ...]
    pinned: tuple[int, ...]
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Edge:
    """That `target` was made from `source`, both full names. `recorded`: a caller said so."""

    source: str
    target: str
    creator: str
    created: int
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a table to read: number 0 has no parts. `base` as in TableRecord. `parts`: oldest first."""

    table: TableRecord
    version: int
    base: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class SpecRecord:
    """A feature spec; its lookups and functions are completed, so they say everything. `inputs`: what the functions
    take from a request besides the keys."""

    id: str
    description: str
    lookups: tuple[Lookup, ...]
    features: tuple[Column, ...]
    keys: tuple[Column, ...]
    creator: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    functions: tuple[FunctionUse, ...] = ()
    inputs: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingSetRecord:
    """A training set.

    versions       the version that was read of each table, by table id
    labels_key     file of the label frame's columns that are left out of the result; "" when there are none
    label_columns  columns of the label frame, in order; None for one that was made before they were kept
    """

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
    labels_key: str = ""
    label_columns: tuple[Column, ...] | None = None


class MetadataStore(Protocol):
    """Each method is one transaction, or part of the running `@mutation`. Missing things raise NotFound."""

    def add_table(
        self,
        table: str,
        schema: Schema,
        *,
        description: str,
        tags: Mapping[str, str],
        publish_on_write: bool,
        owner: str = "",
        freshness: timedelta | None = None,
    ) -> TableRecord:
        """Makes a table that the caller manages, and owns unless `owner` says otherwise. Raises AlreadyExists."""
        ...

    def table(self, table: str) -> TableRecord: ...

    def tables(self, search: Search, after: Key | None, limit: int) -> list[TableRecord]:
        """Returns the tables that the caller may read and that the search finds, in its order, after a place in it."""
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
        owner: str | None = None,
        freshness: timedelta | None = None,
        no_freshness: bool = False,
        tag_entries: Entries | None = None,
    ) -> TableRecord:
        """Changes what is not None, `no_freshness` takes the freshness away, `tag_entries` sets and removes single tags.
         Raises EtagMismatch unless it has `revision` (None: any), SchemaMismatch for
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

    def snapshot(
        self, tables: Sequence[str], version: int = 0, *, moment: int | None = None, after: int = 0
    ) -> list[Snapshot]:
        """Returns the same moment of all tables; with one table, a version of it (0: the newest).

        moment  microseconds: instead of `version` the one that was the newest at that time
        after   parts of versions up to this one may be left out

        Raises NotFound, and VersionVacuumed for a version whose rows were given up.
        """
        ...

    def offered_online(self, table: TableRecord, version: int) -> None:
        """Remembers that the table is online, and that versions up to this one were offered; never goes back."""
        ...

    def add_spec(
        self,
        spec: str,
        description: str,
        lookups: Sequence[Lookup],
        *,
        tags: Mapping[str, str] | None = None,
        functions: Sequence[FunctionUse] = (),
        installed: Installed | None = None,
    ) -> SpecRecord:
        """Makes a spec of lookups and functions; returns the present one when it is equal. Raises AlreadyExists, and
        what `lookups.resolve` and `functions.bound` raise."""
        ...

    def spec(self, spec: str) -> SpecRecord: ...

    def specs(self, search: Search, after: Key | None, limit: int) -> list[SpecRecord]:
        """As `tables`."""
        ...

    def delete_spec(self, spec: str) -> None:
        """Raises SpecInUse while a training set or a recorded consumer refers to it."""
        ...

    def add_training_set(self, record: TrainingSetRecord) -> TrainingSetRecord:
        """Keeps a training set that the caller manages; time and creator are set here. From then on its table versions
        are not given up. Raises VersionVacuumed when one already was."""
        ...

    def training_set(self, training_set: str) -> TrainingSetRecord: ...

    def training_sets(self, search: Search, after: Key | None, limit: int) -> list[TrainingSetRecord]:
        """As `tables`."""
        ...

    def delete_training_set(self, training_set: str) -> None:
        """Deletes a training set; its files are given up, and its table versions no longer kept for it."""
        ...

    def unnamed(self, keys: Collection[str]) -> set[str]:
        """Returns those keys of files that nothing names, not even as given up."""
        ...

    def add_compaction(self, snapshot: Snapshot, made: Compacted) -> bool:
        """Lets a version be read from one file from now on, and gives up the compactions that nothing needs any more.

        Says whether the file was taken: another one may be there already, or the table gone.
        """
        ...

    def vacuum(self, table: str, oldest: int, *, dry_run: bool) -> Vacuumed:
        """Gives up the rows of versions that were not the newest since `oldest` (microseconds) and that no training set
        was built from. Their files are `retired` from now on."""
        ...

    def uncompacted(self, most_files: int, limit: int) -> list[str]:
        """Returns tables whose newest version is read from more files, and whose new rows are worth a compaction."""
        ...

    def retired(self, before: int, limit: int) -> list[str]:
        """Returns files that were given up until a time, oldest first."""
        ...

    def forget_retired(self, keys: Sequence[str]) -> None:
        """Notes that files are deleted."""
        ...

    def add_consumer(self, source: str, consumer: str) -> None:
        """Notes that the caller made something from a table, version, spec or training set. Raises NotFound."""
        ...

    def require_source(self, source: str) -> None:
        """Raises NotFound unless there is such a table, version, spec or training set."""
        ...

    def made_from(self, names: Sequence[str], limit: int) -> list[Edge]:
        """Returns what was made from these in one step, newest first; a table's versions count with it."""
        ...

    def makings_of(self, names: Sequence[str], limit: int) -> list[Edge]:
        """Returns what these were made from in one step, newest first."""
        ...
