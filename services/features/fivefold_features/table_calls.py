"""The RPCs about tables and their rows.

What reads or writes rows in bulk needs Arrow and Polars: hence the imports inside methods, see servicer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc
from google.protobuf.empty_pb2 import Empty

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import names, wire
from fivefold_features.schema import check
from fivefold_features.store import MetadataStore
from fivefold_features.streams import Streamed, opened
from fivefold_features.sweeping import Sweeper
from fivefold_runtime import paging
from fivefold_runtime.errors import Unimplemented
from fivefold_runtime.masks import chosen
from fivefold_runtime.mutation import mutation
from fivefold_runtime.sql import Database

if TYPE_CHECKING:
    from fivefold_features.offline import History
    from fivefold_features.publishing import Publisher

_PAGE, _LARGEST_PAGE = 100, 1_000
_CHANGEABLE = ("description", "tags", "columns", "publish_on_write")

Context = grpc.ServicerContext


class TableCalls:
    """Part of FeatureServicer."""

    database: Database
    _store: MetadataStore
    _history: Callable[[], History]
    _sweeper: Sweeper
    _publisher: Callable[[], Publisher]

    @mutation
    def CreateTable(self, request: pb.CreateTableRequest, context: Context) -> pb.Table:
        asked = request.table
        table, schema = names.table_id(asked.name, "table.name"), wire.schema(asked)
        check(asked.name, schema)
        return wire.to_table(
            self._store.add_table(
                table,
                schema,
                description=asked.description,
                tags=asked.tags,
                publish_on_write=asked.publish_on_write,
            )
        )

    def GetTable(self, request: pb.GetTableRequest, context: Context) -> pb.Table:
        return wire.to_table(self._store.table(names.table_id(request.name)))

    def ListTables(self, request: pb.ListTablesRequest, context: Context) -> pb.ListTablesResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (after,) = paging.key_of(request, paging.TEXT) or ("",)
        found = self._store.tables(after, size + 1)
        token = paging.token_of(request, [found[size - 1].id] if len(found) > size else None)
        return pb.ListTablesResponse(tables=map(wire.to_table, found[:size]), next_page_token=token)

    @mutation
    def UpdateTable(self, request: pb.UpdateTableRequest, context: Context) -> pb.Table:
        asked, fields = request.table, chosen(request.update_mask, request.table, _CHANGEABLE)
        return wire.to_table(
            self._store.update_table(
                names.table_id(asked.name, "table.name"),
                wire.revision(asked.etag, asked.name),
                description=asked.description if "description" in fields else None,
                tags=asked.tags if "tags" in fields else None,
                columns=wire.columns(asked.columns) if "columns" in fields else None,
                publish_on_write=asked.publish_on_write if "publish_on_write" in fields else None,
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
        written = writing.stage(self._history(), table, wire.MODE[header.mode], pieces)
        with self._sweeper.untaken(Streamed(header, written.digest, (table, written), written.key)) as streamed:
            answer = self._add_version(streamed, context)
        if table.publish_on_write:
            self._publisher().catch_up(table.id)
        return answer

    @mutation
    def _add_version(self, request: Streamed, context: Context) -> pb.TableVersion:
        table, written = request.take()
        return wire.to_version(self._store.add_version(table, written))

    def ReadTable(self, request: pb.ReadTableRequest, context: Context) -> Iterator[pb.ReadTableResponse]:
        from fivefold_features import writing

        (snapshot,) = self._store.snapshot([names.table_id(request.name)], request.version)
        for piece in writing.read(self._history(), snapshot, request.columns):
            yield pb.ReadTableResponse(arrow=piece)

    def CompactTable(self, request: pb.CompactTableRequest, context: Context) -> pb.CompactTableResponse:
        raise Unimplemented("CompactTable is not served yet")

    def VacuumTable(self, request: pb.VacuumTableRequest, context: Context) -> pb.VacuumTableResponse:
        raise Unimplemented("VacuumTable is not served yet")
