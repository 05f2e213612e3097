"""The notes service: what a service looks like, in one file, for the runtime's tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from notes_stubs import notes_pb2 as pb

from fivefold_runtime import calls, grants, paging
from fivefold_runtime.app import App
from fivefold_runtime.errors import AlreadyExists, InvalidArgument, NotFound
from fivefold_runtime.mutation import mutation
from fivefold_runtime.names import Pattern
from fivefold_runtime.outbox import Outbox
from fivefold_runtime.permissions import SERVICE as PERMISSIONS
from fivefold_runtime.permissions import PermissionsServicer
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig, setting
from fivefold_runtime.sql import Database, sqlite_in

SERVICE = "fivefold.notes.v1.NotesService"
NAME = Pattern("notes/{note}")
notes = sa.table("notes", sa.column("name", sa.Text), sa.column("text", sa.Text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServerConfig):
    """Settings of the notes service."""

    store_url: str = setting("", "database; empty: SQLite in the data folder", unit="URL", secret=True)


class NotesStore:
    """Keeps notes; every method joins the running transaction."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def add(self, name: str, text: str) -> None:
        with self._database.write() as tx:
            if tx.execute(sa.select(notes).where(notes.c.name == name)).first():
                raise AlreadyExists(f"{name} exists", name=name)
            tx.execute(sa.insert(notes).values(name=name, text=text))
            grants.own(tx, name)
            self._outbox.append(tx, "note-added", name, text.encode())

    def get(self, name: str) -> str:
        with self._database.read() as tx:
            row = tx.execute(sa.select(notes).where(notes.c.name == name)).first()
        if row is None:
            raise NotFound.of(name)
        return row.text

    def append(self, name: str, text: str) -> str:
        with self._database.write() as tx:
            whole = self.get(name) + text
            tx.execute(sa.update(notes).where(notes.c.name == name).values(text=whole))
        return whole

    def delete(self, name: str) -> None:
        with self._database.write() as tx:
            tx.execute(sa.delete(notes).where(notes.c.name == name))
            grants.forget(tx, name)

    def page(self, prefix: str, after: str, limit: int, may_read: sa.ColumnElement[bool]) -> list[str]:
        query = sa.select(notes.c.name).where(
            notes.c.name > after, notes.c.name.startswith(prefix, autoescape=True), may_read
        )
        with self._database.read() as tx:
            return list(tx.execute(query.order_by(notes.c.name).limit(limit)).scalars())


class NotesServicer:
    """Serves notes. `gate` lets a test hold calls of Act back; `entered` says that one waits there."""

    def __init__(self, database: Database, store: NotesStore, outbox: Outbox, authorizer: Authorizer) -> None:
        self.database = database
        self._store = store
        self._outbox = outbox
        self._authorizer = authorizer
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)

    @mutation
    def CreateNote(self, request, context):
        name = NAME.format(**NAME.parse(request.note.name, "note.name"))
        self._store.add(name, request.note.text)
        return pb.Note(name=name, text=request.note.text)

    def GetNote(self, request, context):
        return pb.Note(name=request.name, text=self._store.get(request.name))

    @mutation
    def UpdateNote(self, request, context):
        return pb.Note(name=request.note.name, text=self._store.append(request.note.name, request.note.text))

    @mutation
    def DeleteNote(self, request, context):
        self._store.delete(request.name)
        return pb.Note(name=request.name)

    def JudgeNote(self, request, context):
        return pb.Note(name=request.name, text=self._authorizer.level(request.name).name)

    def ListNotes(self, request, context):
        size = paging.size(request.page_size, default=2, largest=3)
        (after,) = paging.key_of(request, paging.TEXT) or ("",)
        names = self._store.page(request.prefix, after, size + 1, self._authorizer.may_read(notes.c.name))
        more = paging.token_of(request, [names[size - 1]] if len(names) > size else None)
        return pb.ListNotesResponse(notes=[pb.Note(name=name) for name in names[:size]], next_page_token=more)

    def WatchNotes(self, request, context) -> Iterator[pb.Note]:
        after = 0
        while True:
            for event in self._outbox.read(after, topics=["note-added"]):
                after = event.position
                yield pb.Note(name=event.key, text=event.payload.decode())
            self.entered.release()
            while not self._outbox.wait(after, 0.2):
                calls.check()

    def AppendNotes(self, request_iterator, context):
        last = pb.Note()
        for request in request_iterator:
            last = pb.Note(name=request.note.name, text=self._store.append(request.note.name, request.note.text))
        return last

    def Echo(self, request_iterator, context):
        yield from request_iterator

    def Act(self, request, context):
        if request.text == "wait":
            self.entered.release()
            self.gate.wait(30)
        elif request.text == "hang":
            threading.Event().wait()
        elif request.text == "unbuilt":
            raise NotImplementedError
        elif request.text == "fail":
            raise ValueError("secret /etc/passwd SELECT * FROM x")
        elif request.text == "refuse":
            raise InvalidArgument("no", field="text")
        elif request.text == "caller":
            return pb.Note(text=calls.caller().subject, words=sorted(calls.caller().groups))
        return pb.Note(text="done")

    def ActLater(self, request, context):
        yield pb.Note(text="1")
        yield pb.Note(text="2")
        yield self.Act(request, context)

    def Administer(self, request, context):
        return pb.Note(text="administered")


def build(config: Config) -> App:
    database = Database.open(config.store_url or sqlite_in(config.data), migrations="notes_migrations")
    authorizer = Authorizer(config, database)
    outbox = Outbox(database)
    servicer = NotesServicer(database, NotesStore(database, outbox), outbox, authorizer)
    return App(
        servicers={SERVICE: servicer, PERMISSIONS: PermissionsServicer(database, authorizer)},
        database=database,
        authorizer=authorizer,
        close=[servicer.gate.set],
    )
