"""The RPCs about tables and their rows.

What reads or writes rows in bulk needs Arrow and Polars: hence the imports inside methods, see servicer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
from google.protobuf.empty_pb2 import Empty

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import insight_wire, names, searches, wire
from fivefold_features.schema import check
from fivefold_features.store import MetadataStore, TableRecord
from fivefold_features.streams import Streamed, opened
from fivefold_features.sweeping import Sweeper
from fivefold_runtime import paging
from fivefold_runtime.clock import micros
from fivefold_runtime.masks import chosen, entries
from fivefold_runtime.mutation import mutation, once
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.compacting import Compactor
    from fivefold_features.offline import History
    from fivefold_features.publishing import Publisher

_PAGE, _LARGEST_PAGE = 100, 1_000
_CHANGEABLE = ("description", "tags", "columns", "publish_on_write", "owner", "freshness")
_KEEP = timedelta(days=7)

Context = grpc.ServicerContext


class TableCalls:
    """Part of FeatureServicer."""

    database: Database
    _store: MetadataStore
    _history: Callable[[], History]
    _sweeper: Sweeper
    _publisher: Callable[[], Publisher]
    _compactor: Callable[[], Compactor]
    _memory_bytes: int

    @mutation
    def CreateTable(self, request: pb.CreateTableRequest, context: Context) -> pb.Table:
        asked = request.table
        table, schema = names.table_id(asked.name, "table.name"), wire.schema(asked)
        check(asked.name, schema)
        return self._told(
            self._store.add_table(
                table,
                schema,
                description=asked.description,
                tags=asked.tags,
                publish_on_write=asked.publish_on_write,
                owner=asked.owner,
                freshness=wire.freshness(asked),
            )
        )

    def GetTable(self, request: pb.GetTableRequest, context: Context) -> pb.Table:
        return self._told(self._store.table(names.table_id(request.name)))

    def ListTables(self, request: pb.ListTablesRequest, context: Context) -> pb.ListTablesResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        search = searches.of_tables(request.filter, request.order_by)
        found = self._store.tables(search, paging.key_of(request, *search.kinds), size + 1)
        token = paging.token_of(request, search.key(found[size - 1]) if len(found) > size else None)
        return pb.ListTablesResponse(tables=map(self._told, found[:size]), next_page_token=token)

    @mutation
    def UpdateTable(self, request: pb.UpdateTableRequest, context: Context) -> pb.Table:
        asked, fields = request.table, chosen(request.update_mask, request.table, _CHANGEABLE, maps=["tags"])
        freshness = wire.freshness(asked) if "freshness" in fields else None
        return self._told(
            self._store.update_table(
                names.table_id(asked.name, "table.name"),
                wire.revision(asked.etag, asked.name),
                description=asked.description if "description" in fields else None,
                tags=asked.tags if "tags" in fields else None,
                columns=wire.columns(asked.columns) if "columns" in fields else None,
                publish_on_write=asked.publish_on_write if "publish_on_write" in fields else None,
                owner=asked.owner if "owner" in fields else None,
                freshness=freshness,
                no_freshness="freshness" in fields and freshness is None,
                tag_entries=entries(request.update_mask, asked, "tags"),
            )
        )

    @mutation
    def DeleteTable(self, request: pb.DeleteTableRequest, context: Context) -> Empty:
        gone = self._store.delete_table(names.table_id(request.name))
        self.database.after_commit(lambda: self._sweeper.table_gone(gone.uid))
        return Empty()

    def ListTableVersions(self, request: pb.ListTableVersionsRequest, context: Context) -> pb.ListTableVersionsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (before,) = paging.key_of(request, paging.NUMBER) or (None,)
        found = self._store.versions(names.table_id(request.parent, "parent"), before, size + 1)
        token = paging.token_of(request, [found[size - 1].number] if len(found) > size else None)
        return pb.ListTableVersionsResponse(table_versions=map(wire.to_version, found[:size]), next_page_token=token)

    def WriteTable(self, requests: Iterator[pb.WriteTableRequest], context: Context) -> pb.TableVersion:
        from fivefold_features import writing

        header, pieces = opened(requests)
        table = self._store.table(names.table_id(header.table, "header.table"))
        written = writing.stage(
            self._history(), table, wire.MODE[header.mode], pieces, producer=wire.producer(header.producer)
        )
        with self._sweeper.untaken(Streamed(header, written.digest, (table, written), (written.key,))) as streamed:
            answer = self._add_version(streamed, context)
        if table.publish_on_write:
            self._publisher().catch_up(table.id)
        return answer

    @mutation
    def _add_version(self, request: Streamed, context: Context) -> pb.TableVersion:
        table, written = request.take()
        return wire.to_version(self._store.add_version(table, written))

    def ReadTable(self, request: pb.ReadTableRequest, context: Context) -> Iterator[pb.ReadTableResponse]:
        from fivefold_features import reading

        version, moment = wire.version_or_moment(request)
        (snapshot,) = self._store.snapshot([names.table_id(request.name)], version, moment=moment)
        keys = wire.key_columns(request.keys)
        for piece in reading.read(self._history(), snapshot, request.columns, keys, memory_bytes=self._memory_bytes):
            yield pb.ReadTableResponse(arrow=piece)

    def CompactTable(self, request: pb.CompactTableRequest, context: Context) -> pb.CompactTableResponse:
        table = names.table_id(request.name)
        return once(self.database, request, lambda: insight_wire.to_compaction(table, self._compactor().compact(table)))

    @mutation
    def VacuumTable(self, request: pb.VacuumTableRequest, context: Context) -> pb.VacuumTableResponse:
        table, keep = names.table_id(request.name), wire.duration(request, "keep", "keep")
        oldest = micros(self.database.clock.now() - (_KEEP if keep is None else keep))
        return insight_wire.to_vacuum(table, self._store.vacuum(table, oldest, dry_run=request.dry_run))

    def _told(self, record: TableRecord) -> pb.Table:
        return wire.to_table(record, self.database.clock.now())
