"""Mutations by request_id: one effect and the same answer, whatever repeats, races, crashes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest
import sqlalchemy as sa
from asserting import refused
from notes import Config, build, notes
from notes_stubs import notes_pb2 as pb
from notes_stubs import notes_pb2_grpc
from processes import Process

from fivefold_runtime import calls, faults
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.mutation import RequestIdReused, RequestRunning, mutation, once
from fivefold_runtime.principal import LOCAL
from fivefold_runtime.sql import Database
from fivefold_runtime.testing import SettableClock, serve


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def database(store_url, clock):
    opened = Database.open(store_url, migrations="notes_migrations", clock=clock)
    yield opened
    opened.close()


class Appender:
    """A servicer whose effect can be counted."""

    def __init__(self, database):
        self.database = database

    @mutation
    def UpdateNote(self, request, context):
        with self.database.write() as tx:
            tx.execute(sa.insert(notes).values(name=f"{request.note.name}-{count(self.database)}", text=""))
            if request.note.text == "fail":
                raise KeyError
        return pb.Note(name=request.note.name, text=str(count(self.database)))


def count(database) -> int:
    with database.read() as tx:
        return tx.execute(sa.select(sa.func.count()).select_from(notes)).scalar_one()


def asked(text: str = "", request_id: str = "r1") -> pb.UpdateNoteRequest:
    return pb.UpdateNoteRequest(note=pb.Note(name="n", text=text), request_id=request_id)


def test_the_same_request_id_ten_times_at_once_has_one_effect_and_one_answer(tmp_path, store_url):
    with serve(build, Config(data=str(tmp_path / "data"), store_url=store_url)) as running:
        stub = notes_pb2_grpc.NotesServiceStub(running.channel)
        stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/a", text="x")))
        request = pb.UpdateNoteRequest(note=pb.Note(name="notes/a", text="+"), request_id="same")
        with ThreadPoolExecutor(10) as callers:
            answers = list(callers.map(lambda _: stub.UpdateNote(request).text, range(10)))
        assert answers == ["x+"] * 10
        assert stub.GetNote(pb.GetNoteRequest(name="notes/a")).text == "x+"
        request.note.text = "other"
        with refused("REQUEST_ID_REUSED") as refusal:
            stub.UpdateNote(request)
        assert refusal.facts == {"request_id": "same"}


def test_without_a_request_id_every_call_counts(database):
    servicer = Appender(database)
    assert [servicer.UpdateNote(asked(request_id=""), None).text for _ in range(3)] == ["1", "2", "3"]


def test_a_call_that_failed_may_be_repeated_with_its_id(database):
    servicer = Appender(database)
    with pytest.raises(KeyError):
        servicer.UpdateNote(asked("fail"), None)
    assert count(database) == 0
    assert servicer.UpdateNote(asked("good"), None).text == "1"


def test_an_answer_is_kept_for_a_day_and_not_longer(database, clock):
    servicer = Appender(database)
    assert servicer.UpdateNote(asked(), None).text == "1"
    clock.advance(timedelta(hours=23))
    assert servicer.UpdateNote(asked(), None).text == "1"
    clock.advance(timedelta(hours=2))
    assert servicer.UpdateNote(asked("new body"), None).text == "2"


def test_another_body_is_refused(database):
    servicer = Appender(database)
    servicer.UpdateNote(asked(), None)
    with pytest.raises(RequestIdReused) as caught:
        servicer.UpdateNote(asked("other"), None)
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert count(database) == 1


def test_once_runs_slow_work_once_and_refuses_the_second_while_it_runs(database):
    runs = []

    def work():
        runs.append(1)
        if len(runs) == 1:
            with pytest.raises(RequestRunning) as caught:
                once(database, asked(), work)
            assert caught.value.reason == "REQUEST_RUNNING"
        return pb.Note(text="made")

    assert once(database, asked(), work).text == "made"
    assert once(database, asked(), work).text == "made"
    assert len(runs) == 1


def test_once_lets_failed_work_run_again(database):
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        once(database, asked(), fail)
    assert once(database, asked(), lambda: pb.Note(text="second")).text == "second"


def test_once_lets_abandoned_work_run_again_after_a_while_and_on_sqlite_when_it_starts(
    database, store_url, clock, monkeypatch
):
    def goes_away():  # As for a server that is killed there: the claim stays.
        monkeypatch.setattr(database, "write", unavailable)
        unavailable()

    def abandon(request_id: str):
        with pytest.raises(faults.StoreUnavailable):
            once(database, asked(request_id=request_id), goes_away)
        monkeypatch.undo()
        with pytest.raises(RequestRunning):
            once(database, asked(request_id=request_id), pb.Note)
        return asked(request_id=request_id)

    waited = abandon("waited")
    clock.advance(timedelta(minutes=11))
    assert once(database, waited, lambda: pb.Note(text="taken over")).text == "taken over"
    freed = abandon("freed")
    again = Database.open(store_url, migrations="notes_migrations", clock=clock)
    if database.is_sqlite:
        assert once(again, freed, lambda: pb.Note(text="at once")).text == "at once"
    else:  # Another replica may be at work on it.
        with pytest.raises(RequestRunning):
            once(again, freed, pb.Note)
    assert once(again, waited, pb.Note).text == "taken over"
    again.close()


def test_once_keeps_the_answer_of_work_that_outlasted_its_caller(database):
    late = calls.Call("/notes/Slow", LOCAL, time.monotonic() + 60, threading.Event())
    calls.current.set(late)

    def work():
        late.deadline = 0.0
        return pb.Note(text="made")

    try:
        assert once(database, asked(), work).text == "made"
        late.deadline = float("inf")
        assert once(database, asked(), pb.Note).text == "made"
    finally:
        calls.current.set(None)


def test_work_that_was_taken_for_dead_does_not_overwrite_the_answer_of_who_took_over(database, clock):
    def slow():
        clock.advance(timedelta(minutes=11))
        assert once(database, asked(), lambda: pb.Note(text="taken over")).text == "taken over"
        return pb.Note(text="late")

    assert once(database, asked(), slow).text == "late"
    assert once(database, asked(), pb.Note).text == "taken over"


def unavailable():
    raise faults.StoreUnavailable("gone")


def test_a_request_id_that_is_let_go_between_two_looks_is_taken(database):
    once(database, asked(), lambda: pb.Note(text="first"))
    looks = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def let_go(connection, cursor, statement, *_):
        if statement.startswith("SELECT") and "FROM answers" in statement:
            looks.append(statement)
            if len(looks) == 1:
                cursor.execute("DELETE FROM answers")

    assert once(database, asked(), lambda: pb.Note(text="second")).text == "second"
    assert len(looks) == 1
    assert once(database, asked(), pb.Note).text == "second"


def test_a_delete_sent_again_has_its_first_answer_and_only_for_its_caller(tmp_path):
    make_key(tmp_path)
    config = Config(data=str(tmp_path / "data"), auth="jwt", jwt_keys=str(tmp_path / "jwks.json"))
    ann, ben = ([("authorization", f"Bearer {sign_token(tmp_path, subject, ())}")] for subject in ("ann", "ben"))
    with serve(build, config) as running:
        stub = notes_pb2_grpc.NotesServiceStub(running.channel)
        stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/a", text="x")), metadata=ann)
        request = pb.GetNoteRequest(name="notes/a", request_id="r1")
        with refused("RESOURCE_NOT_FOUND"):
            stub.DeleteNote(request, metadata=ben)
        first = stub.DeleteNote(request, metadata=ann)
        assert stub.DeleteNote(request, metadata=ann) == first
        for other, metadata in (
            (request, ben),
            (pb.GetNoteRequest(name="notes/a", request_id="r2"), ann),
            (pb.GetNoteRequest(name="notes/a"), ann),
            (pb.GetNoteRequest(name="notes/b", request_id="r1"), ann),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                stub.DeleteNote(other, metadata=metadata)
        with refused("RESOURCE_NOT_FOUND"):
            stub.GetNote(request, metadata=ann)


def test_an_answer_survives_kill_9(tmp_path):
    request = pb.CreateNoteRequest(note=pb.Note(name="notes/a", text="x"), request_id="kept")
    arguments = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    answers = []
    for _ in range(2):
        with Process(tmp_path, *arguments) as server:  # which ends by kill -9
            with grpc.insecure_channel(f"127.0.0.1:{server.said('serving')['port']}") as channel:
                answers.append(notes_pb2_grpc.NotesServiceStub(channel).CreateNote(request))
    assert answers[0] == answers[1]
