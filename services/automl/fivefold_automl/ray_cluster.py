"""The Ray cluster: an embedded one on loopback, started in the background at boot, or one that this host joins.

The one place that starts, joins and ends Ray. Ray's processes see neither this service's settings nor any credential
but Ray's own token. One cluster per process, since Ray keeps its state in globals.

A driver that touches Ray's object store after the raylet beside it died, or whose cluster's head is silent for a minute,
is ended by Ray, with all of this service. So both are looked for from here, no job asks Ray for anything from then on,
and Ray is left before it notices by itself.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fivefold_automl.errors import RayUnavailable

log = logging.getLogger(__name__)

_PREFIX = "ffr-"  # of temp folders: short, since Ray puts sockets below, whose paths may have 107 bytes
_GLANCE_EVERY = 0.25  # seconds between two looks whether Ray's processes on this host are still there
_LOOK_EVERY = 2.0  # seconds between two looks whether the cluster is
_SILENT_SECONDS = 30.0  # that a cluster's head may take to come back; half of what Ray would grant it
_LEAVE_SECONDS = 5.0  # that jobs get to leave a cluster which is gone
_VITAL = ("raylet", "gcs_server")  # of the embedded cluster's processes
_RETRY_AFTER = 5.0  # seconds after a start that failed
_JOIN_SECONDS = 120.0
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
_KEPT_PREFIXES = ("LC_", "PYTHON", "RAY_", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "COVERAGE_")


class ClusterState(StrEnum):
    """Whether Ray is there."""

    STARTING = "starting"
    READY = "ready"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Node:
    """One node: Ray's id, processors for trials, whether it answers."""

    id: str
    cpus: float
    alive: bool


class Lease:
    """One job's use of Ray, from `RayCluster.leased`. While it lasts, Ray is not shut down under it."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster
        self.working = False  # whether one of the job's workers has started

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Calls Ray. Raises RayUnavailable when the cluster is gone, or for whatever Ray itself fails with."""
        import ray

        self._cluster.check()
        try:
            yield
        except ray.exceptions.RayError as error:
            raise RayUnavailable(f"Ray failed with {type(error).__name__}") from error

    @property
    def others_work(self) -> bool:
        """Says whether another job's workers hold processors."""
        return self._cluster.worked_by_others(self)


class RayCluster:
    """Keeps Ray there from `start` to `stop`, and says how it is."""

    def __init__(self, folder: Path, address: str = "", *, cpus: int = 0, temp: str = "", store_bytes: int = 0) -> None:
        """Starts nothing yet.

        folder       remembers the temp folder, so that the next start removes what a killed one left
        address      host:port of a cluster to join; "" starts an embedded one
        cpus         processors of the embedded one; 0: those of this machine
        temp         folder for Ray's sockets and logs; "" is /tmp
        store_bytes  size of the embedded object store
        """
        self.embedded = not address
        self._address = address
        self._cpus = cpus or None
        self._store_bytes = store_bytes or None
        self._temp_root = temp or "/tmp"
        self._note = folder / "ray.json"
        self._temp: str | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self._changed = threading.Condition()
        self._state = ClusterState.STARTING
        self._message = ""
        self._leases: set[Lease] = set()
        self._nodes: list[Node] = []
        self._stopping = threading.Event()
        # Ray's processes die with the thread that started them (PR_SET_PDEATHSIG), so this one lives as long as Ray.
        self._thread = threading.Thread(target=self._run, name="ray-cluster", daemon=True)

    def start(self) -> None:
        """Begins to start or join the cluster in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the embedded cluster, or leaves the other; waits until its processes are gone."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(15.0 if self._state is ClusterState.READY else 2.0)
        if self._thread.is_alive():  # Ray was starting, which cannot be interrupted.
            self._sweep()

    def why_not(self) -> str:
        """Returns "" while trials can run, else why not."""
        if self._state is ClusterState.READY:
            return ""
        return "Ray is starting" if self._state is ClusterState.STARTING else self._message

    @property
    def state(self) -> ClusterState:
        return self._state

    @property
    def message(self) -> str:
        """Why the cluster is not there; empty otherwise."""
        return self._message

    def wait(self, seconds: float) -> bool:
        """Waits until the cluster is READY, at most `seconds`; says whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state is ClusterState.READY, seconds)

    def lost(self, seconds: float) -> bool:
        """Waits until the cluster is not READY any more, at most `seconds`; says whether it is not."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state is not ClusterState.READY, seconds)

    @contextmanager
    def leased(self) -> Iterator[Lease]:
        """Uses Ray: within the block Ray is shut down only if the block does not end soon after the cluster is gone.

        No reference to one of Ray's objects may outlive the block: a later cluster may give its id to another object.
        """
        lease = Lease(self)
        with self._changed:
            self._leases.add(lease)
        try:
            yield lease
        finally:
            with self._changed:
                self._leases.remove(lease)
                self._changed.notify_all()

    def check(self) -> None:
        """Raises RayUnavailable unless Ray may be asked."""
        if self._state is not ClusterState.READY or not self._is_here():
            raise RayUnavailable(self.why_not() or "the Ray cluster's processes on this host ended")

    def worked_by_others(self, than: Lease) -> bool:
        """Says whether workers of another lease have started."""
        with self._changed:
            return any(lease.working for lease in self._leases if lease is not than)

    def nodes(self) -> list[Node]:
        """Returns the nodes as of some seconds ago; none while the cluster is not there. Asks nobody."""
        return self._nodes if self._state is ClusterState.READY else []

    def slots(self) -> int:
        """Returns how many trials may run at once: the processors of the nodes that answer."""
        return sum(int(node.cpus) for node in self.nodes() if node.alive)

    def _run(self) -> None:
        self._sweep()
        while not self._stopping.is_set():
            try:
                began = time.monotonic()
                self._connect()
                self._nodes = _nodes()
                log.info(
                    "ray is ready", extra={"embedded": self.embedded, "seconds": round(time.monotonic() - began, 1)}
                )
                self._say(ClusterState.READY, "")
                self._watch()
            except Exception as error:  # Ray raises all kinds, and the service must live on without it.
                log.warning("ray is not there", extra={"error": type(error).__name__}, exc_info=True)
            if not self._stopping.is_set():
                failed = "ended" if self._state is ClusterState.READY else "could not be started"
                where = failed if self.embedded else f"at {self._address} does not answer"
                self._say(ClusterState.UNAVAILABLE, f"the Ray cluster {where}; it is tried again")
            self._disconnect()
            self._stopping.wait(_RETRY_AFTER)

    def _connect(self) -> None:
        """Starts or joins. Takes seconds."""
        if self.embedded:
            self._temp = tempfile.mkdtemp(prefix=_PREFIX, dir=self._temp_root)
            self._note.write_text(json.dumps({"temp": self._temp}))
        with _without_credentials():
            ray = _imported()

            common: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "namespace": "fivefold"}
            if self.embedded:
                ray.init(
                    num_cpus=self._cpus,
                    include_dashboard=False,
                    object_store_memory=self._store_bytes,
                    _temp_dir=self._temp,
                    _node_ip_address="127.0.0.1",
                    **common,
                )
                return
            self._node = _join(self._address)
            until = time.monotonic() + _JOIN_SECONDS
            while not self._stopping.is_set():
                try:
                    ray.init(address=self._address, **common)
                    return
                except Exception:
                    if time.monotonic() > until or self._node.poll() is not None:
                        raise
                self._stopping.wait(1.0)

    def _watch(self) -> None:
        """Returns when the service stops; raises when the cluster is gone."""
        look_at, answered = 0.0, time.monotonic()
        while not self._stopping.wait(_GLANCE_EVERY):
            if not self._is_here():
                raise ConnectionError("Ray's processes on this host ended")
            now = time.monotonic()
            if now < look_at:
                continue
            look_at = now + _LOOK_EVERY
            if self._head_listens():  # Asking one that is gone would hang until Ray ends this process.
                answered, self._nodes = now, _nodes()
                if not any(node.alive for node in self._nodes):
                    raise ConnectionError("no node of the cluster answers")
            elif now - answered > _SILENT_SECONDS:
                raise ConnectionError("the head of the cluster does not answer")

    def _is_here(self) -> bool:
        """Says whether Ray's processes on this host live. Costs a system call for each."""
        if self._node is not None:
            return self._node.poll() is None  # It ends when one of the processes that it started does.
        import ray

        node: Any = ray._private.worker._global_node
        return node is not None and not any(kind in _VITAL for kind, _ in node.dead_processes())

    def _head_listens(self) -> bool:
        """Says whether the head of a joined cluster takes connections; an embedded one is a process of this host."""
        if self.embedded:
            return True
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError:
            return False
        return True

    def _disconnect(self) -> None:
        import ray

        with self._changed:
            if not self._changed.wait_for(lambda: not self._leases, _LEAVE_SECONDS):
                log.warning("a job does not leave ray")
        try:
            ray.shutdown()
        except Exception:
            log.warning("ray did not shut down cleanly", exc_info=True)
        if self._node is not None:
            self._node.terminate()
            try:
                self._node.wait(10.0)
            except subprocess.TimeoutExpired:
                self._node.kill()
            self._node = None
        if self._temp is not None:
            self._sweep()  # Ray leaves workers behind whose raylet was killed.
            self._temp = None

    def _sweep(self) -> None:
        """Ends what is left of an embedded cluster that is over: its processes and its temp folder."""
        try:
            left = Path(json.loads(self._note.read_text())["temp"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if left.name.startswith(_PREFIX) and left.parent == Path(self._temp_root):
            for process in _using(left):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            shutil.rmtree(left, ignore_errors=True)
        self._note.unlink(missing_ok=True)

    def _say(self, state: ClusterState, message: str) -> None:
        with self._changed:
            self._state, self._message = state, message
            self._changed.notify_all()


def prepare_environment(*, embedded: bool) -> None:
    """Sets what Ray reads from the environment of this process. Call it before Ray is imported.

    Token authentication is always on; an embedded cluster gets a token of its own, a joined one takes RAY_AUTH_TOKEN or
    RAY_AUTH_TOKEN_PATH as the operator set them.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Whoever asks Ray while it is gone shall be told so, not be given a cluster of Ray's default settings.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    # Ray's own handler would abort this process three seconds after a SIGTERM, in the middle of its drain.
    os.environ["RAY_DISABLE_FAILURE_SIGNAL_HANDLER"] = "1"
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    os.environ.setdefault("RAY_health_check_period_ms", "1000")
    # The one node of an embedded cluster is watched from here; Ray itself must not be the first to notice its end.
    os.environ.setdefault("RAY_health_check_failure_threshold", "60" if embedded else "5")
    if embedded:
        os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
        os.environ.pop("RAY_ADDRESS", None)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # With it a node may have a loopback address, and then its servers listen on loopback only.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")


def _nodes() -> list[Node]:
    import ray

    return [Node(node["NodeID"], float(node["Resources"].get("CPU", 0.0)), bool(node["Alive"])) for node in ray.nodes()]


def _imported() -> Any:
    """Imports Ray, and takes back what it does to the logging of this process."""
    factory = logging.getLogRecordFactory()
    import ray

    logging.setLogRecordFactory(factory)
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


@contextmanager
def _without_credentials() -> Iterator[None]:
    """Keeps from Ray's processes, which inherit the environment, all that they do not need."""
    whole = dict(os.environ)
    for name in whole:
        if name not in _KEPT and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(whole)


def _using(temp: Path) -> list[int]:
    """Returns the other processes that have a file open below a temp folder: Ray's write their logs there."""
    using = set()
    for file in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # It is closed, its process ended, or it is another user's.
            if os.readlink(file).startswith(f"{temp}/"):
                using.add(int(file.parts[2]))
    return sorted(using - {os.getpid()})


def _join(address: str) -> subprocess.Popen[bytes]:
    """Starts a node without processors on this host: a driver needs one beside it."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--num-cpus=0", "--block"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
