"""Starts the five services as child processes, watches them, and stops them all in good order.

Each service is a process group of its own, so that Ctrl-C reaches only the supervisor; callers stop before those they
call. When one service dies, the others are stopped. On Linux the supervisor also adopts what a service leaves behind
(such as Ray's processes), so that nothing outlives it. Only processes that it started are ever signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fivefold.cli import processes, services, tokens
from fivefold.cli.failures import Failure
from fivefold.cli.instance import Folder, Instance, Member

PATIENCE_SECONDS = 120.0  # until all answer
RAY_PATIENCE_SECONDS = 60.0  # from then on, until automl's cluster is there
_LAST_BYTES = 64 * 1024  # of a log that are read for what a service said last
STOP_SECONDS = 30.0  # that a service gets from SIGTERM to SIGKILL


@dataclass(slots=True)
class Child:
    """A started service: its process, where its part of the log begins, and whether it has ended."""

    member: Member
    process: subprocess.Popen[bytes]
    log_start: int
    ended: bool = False


class Supervisor:
    """Runs one installation from `run` until it is told to stop."""

    def __init__(self, folder: Folder, base: int, *, auth: bool) -> None:
        self._folder = folder
        self._base = base
        self._auth = auth
        self._children: dict[str, Child] = {}
        self._wake = threading.Event()
        self._asked_to_stop = 0

    def check(self) -> None:
        """Raises Failure for whatever would keep the services from starting, before anything is written."""
        services.check_packages()
        self._folder.refuse_if_busy()
        services.check_ports(self._base)
        self._folder.refuse_if_full()

    def run(self, on_ready: Callable[[Instance, float], None]) -> None:
        """Starts everything, calls `on_ready` (the instance, seconds until all answered), returns when told to stop.

        This process must have no other children: whatever is left of them at the end is killed. Raises Failure when a
        service does not start, dies, or does not answer; nothing is left running then either.
        """
        self._folder.take()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._on_signal)
        processes.adopt_orphans()
        began = time.monotonic()
        try:
            instance = self._begin()
            answered = self._wait(began)
            if not self._asked_to_stop:
                on_ready(instance, answered)
                self._watch()
        finally:
            self._stop_all()
            self._folder.forget()

    def _on_signal(self, *_: object) -> None:
        self._asked_to_stop += 1
        self._wake.set()

    def _begin(self) -> Instance:
        """Starts the services and records them. Raises Failure when the folder cannot be written to."""
        try:
            if self._auth:
                tokens.make_keys(self._folder, list(services.OFFSETS))
            for service in services.OFFSETS:
                self._start(service)
            members = tuple(child.member for child in self._children.values())
            pid = os.getpid()
            instance = Instance(pid, processes.started(pid), self._base, self._auth, members)
            self._folder.write(instance)
            return instance
        except OSError as error:
            raise Failure(
                f"cannot write in {self._folder.path}: {error.strerror}",
                "free some space, or choose another folder with --data",
            ) from None

    def _start(self, service: str) -> None:
        with self._folder.log(service).open("ab") as log:
            log_start = log.tell()
            process = subprocess.Popen(
                services.command(service, self._folder, self._base, auth=self._auth),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=services.environment(service, os.environ),
                process_group=0,
            )
            member = Member(
                service, process.pid, processes.started(process.pid), self._base + services.OFFSETS[service]
            )
            self._children[service] = Child(member, process, log_start)

    def _wait(self, began: float) -> float:
        """Returns the seconds after which all answered; sooner when told to stop meanwhile.

        Automl answers long before its Ray cluster is there. It gets a while longer to say SERVING, but others do not
        have to wait for a cluster that does not come.
        """
        answered = 0.0
        patience = PATIENCE_SECONDS
        states = dict.fromkeys(self._children, "")
        while not self._asked_to_stop:
            self._raise_if_one_ended()
            for service, child in self._children.items():
                if states[service] != "SERVING":
                    states[service] = _state(child.member)
            not_yet = [service for service, state in states.items() if state != "SERVING"]
            if not answered and (not not_yet or (not_yet == ["automl"] and states["automl"] == "NOT_SERVING")):
                answered = time.monotonic() - began
                patience = answered + RAY_PATIENCE_SECONDS
            if not not_yet or (answered and time.monotonic() - began > patience):
                break
            if time.monotonic() - began > patience:
                raise Failure(
                    f"{not_yet[0]} did not answer within {PATIENCE_SECONDS:.0f} s, so everything was stopped",
                    f"see {self._folder.log(not_yet[0])}",
                )
            self._wake.wait(0.2)
        return answered

    def _watch(self) -> None:
        """Returns when told to stop; renews the services' tokens meanwhile. Raises Failure when a service ends."""
        renewed = time.monotonic()
        while not self._asked_to_stop:
            self._wake.wait(0.5)
            self._raise_if_one_ended()
            if self._auth and time.monotonic() - renewed > tokens.RENEW_SECONDS:
                with suppress(OSError):  # They are good for several renewals, and the disk may have room again by then.
                    tokens.make_keys(self._folder, list(services.OFFSETS))
                renewed = time.monotonic()

    def _raise_if_one_ended(self) -> None:
        if self._asked_to_stop:
            return
        for service, child in self._children.items():
            if self._has_ended(child):
                log = self._folder.log(service)
                with log.open("rb") as file:
                    file.seek(max(child.log_start, log.stat().st_size - _LAST_BYTES))
                    said = file.read()
                words = services.own_words(service, said)
                if words:
                    raise Failure(words, f"said by {service}; the others were stopped")
                last = said.decode(errors="replace").splitlines()[-5:]
                raise Failure(
                    f"{service} ended ({_how(child.process.returncode)}), so the others were stopped",
                    "\n  ".join([f"the end of {log}:", *last]),
                )

    def _has_ended(self, child: Child) -> bool:
        """Says whether a service's process is gone, and ends what is left of its group before the pid can be reused."""
        if not child.ended and _exited(child.process):
            processes.signal_group(child.member.pid, signal.SIGKILL)
            child.process.wait()
            child.ended = True
        return child.ended

    def _stop_all(self) -> None:
        asked_before = self._asked_to_stop
        for group in services.STOP_ORDER:
            going = [self._children[service] for service in group if service in self._children]
            for child in going:
                if not self._has_ended(child):
                    child.process.terminate()
            end = time.monotonic() + STOP_SECONDS
            while sum(self._has_ended(child) for child in going) < len(going):
                if time.monotonic() > end or self._asked_to_stop > max(asked_before, 1):
                    for child in going:
                        if not self._has_ended(child):
                            processes.signal_group(child.member.pid, signal.SIGKILL)
                time.sleep(0.02)
        while processes.end_children():
            pass  # What those leave behind becomes ours in turn.


def _exited(process: subprocess.Popen[bytes]) -> bool:
    """Says whether a child has ended, without reaping it where the system can: its pid stays taken until then."""
    if hasattr(os, "waitid"):
        if process.returncode is not None:
            return True
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None


def _state(member: Member) -> str:
    """Returns what a service says of itself; "" while it does not answer."""
    from fivefold.sdk.errors import FivefoldError
    from fivefold.sdk.transport import Access, Transport

    if not services.is_listening(member.port):
        return ""
    transport = Transport(member.service, member.address, Access(timeout=5.0))
    try:
        return transport.health(5.0)
    except FivefoldError:
        return ""
    finally:
        transport.close()


def _how(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"by {signal.Signals(-returncode).name}"
    return f"exit code {returncode}"
