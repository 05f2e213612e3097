"""Starting and stopping a server process: settings, one-line refusals, drain."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa
from asserting import refused
from grpc_health.v1 import health_pb2, health_pb2_grpc
from notes import Config
from notes_stubs import notes_pb2 as pb
from notes_stubs import notes_pb2_grpc
from processes import Process

from fivefold_runtime.settings import HelpAsked, StartError, load
from fivefold_runtime.sql import Database, sqlite_in


def settings(*argv: str, **environ: str) -> Config:
    return load(Config, "notes", argv, environ)[0]


def test_flags_win_over_the_environment_which_wins_over_defaults():
    read = settings("--threads", "3", "--production", "--drain-seconds=2.5", FIVEFOLD_NOTES_THREADS="5")
    assert (read.threads, read.production, read.drain_seconds, read.stream_threads) == (3, True, 2.5, 256)
    assert settings(FIVEFOLD_NOTES_PRODUCTION="true", FIVEFOLD_OTHER_THREADS="x").production


@pytest.mark.parametrize(
    ("argv", "environ", "line"),
    [
        (["--thread", "3"], {}, "unknown argument --thread. Did you mean --threads?"),
        (["--drain_seconds", "3"], {}, "unknown argument --drain_seconds. Did you mean --drain-seconds?"),
        (["serve"], {}, "unknown argument serve"),
        (
            [],
            {"FIVEFOLD_NOTES_LISTNE": "x"},
            "unknown setting FIVEFOLD_NOTES_LISTNE. Did you mean FIVEFOLD_NOTES_LISTEN?",
        ),
        ([], {"FIVEFOLD_NOTES_Listen": "127.0.0.1:1"}, "unknown setting FIVEFOLD_NOTES_Listen"),
        (["--threads"], {}, "--threads needs a value [threads]."),
        (["--threads", "many"], {}, "--threads is 'many'; it must be a whole number"),
        (["--threads", "0"], {}, "--threads is 0; it must be at least 1."),
        (["--drain-seconds", "nan"], {}, "--drain-seconds is 'nan'; it must be a number"),
        ([], {"FIVEFOLD_NOTES_PRODUCTION": "maybe"}, "FIVEFOLD_NOTES_PRODUCTION is 'maybe'; it must be true or false."),
        (["--auth", "basic"], {}, "--auth is 'basic'; it must be one of off, jwt."),
        (["--auth", "jwt"], {}, "--auth jwt needs --jwt-keys"),
        (["--listen", "0.0.0.0:7101"], {}, "authentication is off, so 0.0.0.0:7101 would let everyone in."),
        (["--listen", "example.com:7101"], {}, "authentication is off, so example.com:7101 would let everyone in."),
        (["--listen", "7101"], {}, "--listen is '7101'; it must be host:port"),
        (["--listen", "127.0.0.1:99999"], {}, "it must be host:port"),
        (["--health-listen", "here"], {}, "--health-listen is 'here'; it must be host:port"),
        (["--tls-cert", "c.pem"], {}, "TLS needs both --tls-cert and --tls-key."),
        (["--tls-client-ca", "c.pem"], {}, "--tls-client-ca needs --tls-cert and --tls-key."),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(argv, environ, line):
    with pytest.raises(StartError) as caught:
        load(Config, "notes", argv, environ)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loopback_addresses_need_no_authentication():
    for listen in ("127.0.0.1:1", "[::1]:1", "localhost:1", "127.5.5.5:1"):
        assert settings("--listen", listen).listen == listen


def test_help_lists_every_setting_with_its_default_and_unit():
    with pytest.raises(HelpAsked) as asked:
        settings("--help")
    for part in ("--listen 127.0.0.1:7101 [host:port]", "--threads 16 [threads]", "--store-url", "--migrate-only"):
        assert part in asked.value.args[0]


def run(tmp_path, *argv, **environ) -> tuple[int, str, str]:
    with Process(tmp_path, *argv, environ=environ) as server:
        return server.wait()


def refused_to_start(tmp_path, *argv, **environ) -> str:
    """The process must end with code 2 and exactly one line on stderr, which is returned."""
    code, out, err = run(tmp_path, *argv, **environ)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and err.startswith("fivefold-notes: "), err
    return err.removeprefix("fivefold-notes: ").strip()


def test_help_is_printed_and_nothing_is_started(tmp_path):
    code, out, err = run(tmp_path, "--help")
    assert code == 0 and "--drain-seconds 10.0 [seconds]" in out and err == ""


def test_an_unknown_setting_stops_the_start(tmp_path):
    line = refused_to_start(tmp_path, FIVEFOLD_NOTES_TREADS="3")
    assert line == "unknown setting FIVEFOLD_NOTES_TREADS. Did you mean FIVEFOLD_NOTES_THREADS?"


@pytest.mark.parametrize("flag", ["--listen", "--health-listen", "--metrics-listen"])
def test_a_taken_port_is_one_line_and_nothing_is_written(tmp_path, flag):
    data = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listen = [] if flag == "--listen" else ["--listen", "127.0.0.1:0"]
        line = refused_to_start(tmp_path, *listen, flag, address, "--data", str(data))
    assert line == (f"cannot listen on {address}: the port is taken. Stop what uses it, or choose another with {flag}.")
    assert not data.exists()


def test_a_port_is_not_shared_by_two_servers(tmp_path):
    with Process(tmp_path, "--listen", "127.0.0.1:0", "--data", str(tmp_path / "a")) as first:
        address = f"127.0.0.1:{first.said('serving')['port']}"
        assert "the port is taken" in refused_to_start(tmp_path, "--listen", address, "--data", str(tmp_path / "b"))


def test_a_data_folder_in_use_names_the_process_and_is_free_after_a_kill(tmp_path):
    where = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    with Process(tmp_path, *where) as first:
        first.said("serving")
        line = refused_to_start(tmp_path, *where)
        assert f"is in use by process {first.process.pid}." in line
        first.process.kill()
        first.process.wait()
    with Process(tmp_path, *where) as second:
        second.said("serving")


def test_a_newer_schema_is_one_line(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    database = Database.open(sqlite_in(data), migrations="notes_migrations")
    with database.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    database.close()
    line = refused_to_start(tmp_path, "--listen", "127.0.0.1:0", "--data", str(data))
    assert line.startswith("the database has schema 0999, this notes-migrations knows up to 0001.")


def test_a_missing_package_is_one_line(tmp_path):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "sqlalchemy.py").write_text("raise ModuleNotFoundError(name='sqlalchemy')")
    program = (
        "import sys\nfrom fivefold_runtime.main import run\nfrom fivefold_runtime.settings import ServerConfig\n"
        "def build(config):\n    import no_such_package\nsys.exit(run('notes', ServerConfig, build))"
    )
    command = [sys.executable, "-c", program, "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        "fivefold-notes: the package no_such_package is missing. Install fivefold-notes again, with its extras.\n"
    )


def test_an_error_with_a_reason_at_start_is_one_line(tmp_path):
    program = (
        "import sys\nfrom fivefold_runtime.faults import StorageFull\nfrom fivefold_runtime.main import run\n"
        "from fivefold_runtime.settings import ServerConfig\n"
        "def build(config):\n    raise StorageFull('the disk is full')\nsys.exit(run('notes', ServerConfig, build))"
    )
    command = [sys.executable, "-c", program, "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "fivefold-notes: the disk is full\n")


def test_a_data_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    line = refused_to_start(tmp_path, "--listen", "127.0.0.1:0", "--data", str(tmp_path / "file" / "data"))
    assert "cannot use the data folder" in line


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place) -> None:
    with (place / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def test_a_full_disk_at_start_is_one_line(tmp_path, small_disk):
    fill(small_disk)
    line = refused_to_start(tmp_path, "--listen", "127.0.0.1:0", "--data", str(small_disk / "data"))
    assert "space" in line


def test_on_a_full_disk_writes_are_refused_reads_go_on_and_space_heals_it(tmp_path, small_disk):
    with Process(tmp_path, "--listen", "127.0.0.1:0", "--data", str(small_disk / "data")) as server:
        port = server.said("serving")["port"]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = notes_pb2_grpc.NotesServiceStub(channel)
            stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/before", text="x")))
            fill(small_disk)
            with refused("STORAGE_FULL") as refusal:
                for number in range(2000):
                    stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name=f"notes/n{number}", text="x" * 40)))
            assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert stub.GetNote(pb.GetNoteRequest(name="notes/before")).text == "x"
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.SERVING
            (small_disk / "filler").unlink()
            stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/after", text="y")))
            assert stub.GetNote(pb.GetNoteRequest(name="notes/after")).text == "y"


def test_migrate_only_makes_the_schema_and_ends(tmp_path):
    data = tmp_path / "data"
    code, _, err = run(tmp_path, "--migrate-only", "--data", str(data))
    assert code == 0 and '"migrated"' in err
    Database.open(sqlite_in(data), migrations="notes_migrations").close()


def test_the_data_folder_is_private(tmp_path):
    run(tmp_path, "--migrate-only", "--data", str(tmp_path / "data"))
    for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_with_code_0_and_frees_the_folder(tmp_path, number):
    where = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    with Process(tmp_path, *where) as server:
        server.said("serving")
        server.process.send_signal(number)
        code, _, err = server.wait()
        assert code == 0 and '"stopped"' in err and "Traceback" not in err
    with Process(tmp_path, *where) as again:
        again.said("serving")


def test_sigterm_lets_running_calls_end_tells_streams_to_go_and_takes_no_new_ones(tmp_path):
    where = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    with Process(tmp_path, *where) as server, ThreadPoolExecutor(4) as callers:
        with grpc.insecure_channel(f"127.0.0.1:{server.said('serving')['port']}") as channel:
            stub = notes_pb2_grpc.NotesServiceStub(channel)
            health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(health).status == health_pb2.HealthCheckResponse.SERVING
            watch = stub.WatchNotes(pb.ListNotesRequest())
            stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name="notes/a", text="x")))
            assert next(watch).name == "notes/a"
            started = threading.Event()

            def uploading():
                yield pb.UpdateNoteRequest(note=pb.Note(name="notes/a", text="1"))
                started.set()
                assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
                yield pb.UpdateNoteRequest(note=pb.Note(name="notes/a", text="2"))

            upload = callers.submit(stub.AppendNotes, uploading())
            assert started.wait(10)
            server.process.send_signal(signal.SIGTERM)
            with refused("SHUTTING_DOWN") as refusal:
                list(watch)
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert upload.result(30).text == "x12"
            assert list(health) == []
        assert server.wait()[0] == 0


def test_a_call_that_never_ends_does_not_keep_the_process(tmp_path):
    where = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"), "--drain-seconds", "0.5")
    with Process(tmp_path, *where) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.said('serving')['port']}") as channel:
            stub = notes_pb2_grpc.NotesServiceStub(channel)
            stuck = stub.ActLater(pb.Note(text="hang"))
            assert next(stuck).text == "1"
            server.process.send_signal(signal.SIGTERM)
            code, _, err = server.wait()
            assert code == 0 and '"calls did not end in time"' in err


def test_an_idle_server_is_small(tmp_path):
    where = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    run(tmp_path, "--migrate-only", *where)
    with Process(tmp_path, *where) as server:
        server.said("serving")
        pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
        assert pages * resource.getpagesize() < 100 * 1024 * 1024
