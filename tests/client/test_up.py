"""`fivefold up`, `status` and `down` with five real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fivefold.cli import processes
from fivefold.cli.instance import Folder, Member
from fivefold.cli.services import is_listening

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left-over processes in /proc"),
    pytest.mark.skipif(
        not all(
            find_spec(f"fivefold_{service}") and find_spec(f"fivefold_{service}.__main__")
            for service in ("tracking", "features", "registry", "automl", "serving")
        ),
        reason="not all five services are installed",
    ),
]

Completed = subprocess.CompletedProcess[str]


def command(*arguments: str, **environment: str) -> Completed:
    """Runs `fivefold` to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FIVEFOLD_")}
    return subprocess.run(
        [sys.executable, "-m", "fivefold", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=clean | environment,
        timeout=200,
    )


def status(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("status", "--data", str(data), "-o", "json").stdout)
    return found


def left_of(data: Path) -> list[str]:
    """Lists the processes that were started for a data folder, and Ray's that they started, by command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(data) in line or f"TEST_MARK={data}" in environment:
            found.append(line)
    return found


@pytest.fixture
def base() -> int:
    return free_base(20000 + os.getpid() % 5000)


def free_base(first: int) -> int:
    """Returns a base port P, `first` or greater, so that P+1 to P+5 are free."""
    for candidate in range(first, 60000, 7):
        sockets = []
        try:
            for offset in range(1, 6):
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(("127.0.0.1", candidate + offset))
            return candidate
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
    raise AssertionError("no free ports")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder from which nothing runs at the end."""
    folder = tmp_path / "data"
    yield folder
    command("down", "--data", str(folder))


@contextmanager
def foreground(data: Path, base: int) -> Iterator[subprocess.Popen[str]]:
    """`fivefold up` in the foreground, which the test ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fivefold", "up", "--data", str(data), "--port", str(base)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TEST_MARK": str(data)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until_listening(process: subprocess.Popen[str], data: Path, service: str) -> Member:
    """Waits until a service of a starting installation takes connections."""
    while process.poll() is None:
        instance = Folder(data).instance()
        for member in instance.members if instance else ():
            if member.service == service and is_listening(member.port):
                return member
    raise AssertionError(f"up ended: {process.communicate()[1]}")


def test_detached_services_answer_until_they_are_taken_down(data: Path, base: int) -> None:
    up = command(
        "up", "--data", str(data), "--port", str(base), "--detach", FIVEFOLD_TOKEN="secret", TEST_MARK=str(data)
    )
    assert up.returncode == 0, up.stderr
    assert f"export FIVEFOLD_URL=127.0.0.1:{base}" in up.stdout
    found = status(data)
    assert [service["address"] for service in found["services"]] == [f"127.0.0.1:{base + n}" for n in range(1, 6)]
    assert found["serving"] is True
    assert "Ray: READY" in found["services"][3]["note"]
    for service in found["services"]:
        environ = Path(f"/proc/{service['pid']}/environ").read_bytes()
        assert b"FIVEFOLD_TOKEN" not in environ
    assert command("status", "--data", str(data)).returncode == 0
    checks = {
        check["check"]: check for check in json.loads(command("doctor", "--data", str(data), "-o", "json").stdout)
    }
    assert checks["Ray cluster"]["value"] == "Ray: READY"
    for name in ("tracking", "features", "registry", "serving"):
        assert (checks[name]["verdict"], checks[f"{name} memory"]["verdict"]) == ("ok", "ok"), checks
    assert command("--url", f"127.0.0.1:{base}", "experiments", "create", "first").returncode == 0

    again = command("up", "--data", str(data), "--port", str(base + 10))
    assert again.returncode == 1
    assert again.stderr.startswith(f"fivefold: the data folder {data} is in use by an instance on port {base}")
    other = data.parent / "other"
    taken = command("up", "--data", str(other), "--port", str(base + 1))
    assert taken.returncode == 1
    assert re.match(rf"fivefold: port {base + 2}, which tracking needs, cannot be taken", taken.stderr)
    assert not other.exists()

    down = command("down", "--data", str(data))
    assert (down.returncode, down.stdout) == (0, f"Stopped Fivefold in {data}\n")
    assert left_of(data) == []
    assert command("status", "--data", str(data)).returncode == 1
    second = command("down", "--data", str(data))
    assert (second.returncode, second.stdout) == (0, f"Fivefold is not running from {data}\n")


def test_two_installations_run_side_by_side_and_each_is_taken_down_alone(data: Path, base: int, tmp_path: Path) -> None:
    other, other_base = tmp_path / "other", free_base(base + 10)
    try:
        for folder, port in ((data, base), (other, other_base)):
            up = command("up", "--data", str(folder), "--port", str(port), "--detach", TEST_MARK=str(folder))
            assert up.returncode == 0, up.stderr
        assert command("down", "--data", str(data)).returncode == 0
        assert left_of(data) == []
        found = status(other)
        assert found["serving"] is True
        assert {service["address"] for service in found["services"]} == {
            f"127.0.0.1:{other_base + n}" for n in range(1, 6)
        }
    finally:
        command("down", "--data", str(other))
    assert left_of(other) == []


def test_ctrl_c_stops_everything_and_leaves_nothing_behind(data: Path, base: int) -> None:
    with foreground(data, base) as running:
        assert running.stdout is not None
        said = list(iter(running.stdout.readline, "Stop it: Ctrl-C\n"))
        assert len([line for line in said if "SERVING" in line]) == 5
        assert left_of(data)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate()
    assert (running.returncode, errors) == (0, "")
    assert left_of(data) == []
    assert not (data / "state.json").exists()


def test_when_a_service_dies_the_others_stop_and_its_log_is_shown(data: Path, base: int) -> None:
    with foreground(data, base) as running:
        os.kill(until_listening(running, data, "features").pid, signal.SIGKILL)
        _, errors = running.communicate()
    assert running.returncode == 1
    assert errors.startswith("fivefold: features ended (by SIGKILL), so the others were stopped\n")
    assert f"the end of {data}/logs/features.log:" in errors
    assert left_of(data) == []


def test_what_a_killed_supervisor_left_is_seen_and_taken_down(data: Path, base: int) -> None:
    with foreground(data, base) as running:
        until_listening(running, data, "tracking")
        running.kill()
    found = status(data)
    assert found["serving"] is False
    assert {service["note"] for service in found["services"]} == {"without supervisor"}
    refused = command("up", "--data", str(data), "--port", str(base + 10))
    assert refused.returncode == 1
    assert "fivefold down --data" in refused.stderr
    assert "Stopped 5 services" in command("down", "--data", str(data)).stdout
    assert left_of(data) == []


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(data: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    data.mkdir()
    member = {"service": "tracking", "pid": bystander.pid, "started": "another time", "port": 1}
    state = {"pid": bystander.pid, "started": "another time", "base": 0, "auth": False, "members": [member]}
    (data / "state.json").write_text(json.dumps(state))
    assert command("down", "--data", str(data)).stdout == f"Fivefold is not running from {data}\n"
    assert bystander.poll() is None
    assert processes.is_alive(bystander.pid, processes.started(bystander.pid))
    bystander.communicate(b"\n")
    assert not processes.is_alive(bystander.pid, processes.started(bystander.pid))


def test_a_service_s_own_line_is_passed_on_and_nothing_stays(data: Path, base: int) -> None:
    refused = command(
        "up", "--data", str(data), "--port", str(base), "--detach", FIVEFOLD_REGISTRY_LISSEN="x", TEST_MARK=str(data)
    )
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "fivefold: unknown setting FIVEFOLD_REGISTRY_LISSEN. Did you mean FIVEFOLD_REGISTRY_LISTEN?",
        "  said by registry; the others were stopped",
    ]
    assert left_of(data) == []


@pytest.mark.parametrize(("port", "code"), [("65533", 2), ("0", 2), ("x", 2)])
def test_a_port_that_cannot_be_is_refused(data: Path, port: str, code: int) -> None:
    assert command("up", "--data", str(data), "--port", port).returncode == code
    assert not data.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, base: int) -> None:
    (tmp_path / "file").touch()
    refused = command("up", "--data", str(tmp_path / "file" / "data"), "--port", str(base))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"fivefold: cannot use the data folder {tmp_path}/file/data: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_found_before_anything_is_written(tmp_path: Path, base: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        refused = command("up", "--data", str(tmp_path / "data"), "--port", str(base))
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (refused.returncode, left) == (1, [])
    assert refused.stderr.startswith(f"fivefold: only 1 MB are free at {tmp_path}/data; a start needs 100 MB\n")


def test_with_auth_only_a_token_lets_callers_in(data: Path, base: int) -> None:
    assert command("up", "--data", str(data), "--port", str(base), "--detach", "--auth").returncode == 0
    url = f"127.0.0.1:{base}"
    assert command("--url", url, "experiments", "list").returncode == 4
    assert command("--url", url, "experiments", "list", FIVEFOLD_TOKEN="no token").returncode == 4
    token = command("token", "--data", str(data), "--subject", "ada").stdout.strip()
    made = command("--url", url, "models", "list", FIVEFOLD_TOKEN=token)
    assert made.returncode == 0
    assert command("--url", url, "experiments", "create", "hers", FIVEFOLD_TOKEN=token).returncode == 0
    bob = command("token", "--data", str(data), "--subject", "bob").stdout.strip()
    assert "hers" not in command("--url", url, "experiments", "list", FIVEFOLD_TOKEN=bob).stdout
    admin = command("token", "--data", str(data), "--subject", "eve", "--group", "admins").stdout.strip()
    assert "hers" in command("--url", url, "experiments", "list", FIVEFOLD_TOKEN=admin).stdout
    assert command("status", "--data", str(data)).returncode == 0
    assert {path.stat().st_mode & 0o077 for path in (data / "keys").iterdir()} == {0}


def test_a_token_without_a_key_says_how_to_get_one(data: Path) -> None:
    refused = command("token", "--data", str(data))
    assert refused.returncode == 1
    assert "up --data" in refused.stderr and "--auth" in refused.stderr
