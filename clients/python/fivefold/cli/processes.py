"""Processes by pid and start time, so that a pid which the system gave to another process is never taken for ours.

Reads /proc where there is one, asks `ps` elsewhere.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_LINUX = platform.system() == "Linux"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux


def started(pid: int) -> str:
    """Returns when a process started, as an opaque text that no other process of that pid has; "" when it is gone."""
    if _LINUX:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        # Behind the name: state, then the fields from the fourth on; start time (in ticks since boot) is the 22nd.
        return "" if fields[0] in "ZX" else f"{_boot()}:{fields[19]}"
    return _ps(pid, "lstart")


def is_alive(pid: int, start: str) -> bool:
    """Says whether the very process that started then still runs."""
    return bool(start) and started(pid) == start


def resident_bytes(pid: int) -> int | None:
    """Returns how much memory a process holds; None when it is gone."""
    if _LINUX:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)
    text = _ps(pid, "rss")
    return int(text) * 1024 if text.isdigit() else None


def wait_gone(processes: Iterable[tuple[int, str]], seconds: float) -> list[tuple[int, str]]:
    """Waits until the processes are gone, at most so long; returns those that are still there."""
    end = time.monotonic() + seconds
    left = [one for one in processes if is_alive(*one)]
    while left and time.monotonic() < end:
        time.sleep(0.05)
        left = [one for one in left if is_alive(*one)]
    return left


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signals the process group of a leader that is ours and not yet reaped; nothing when the group is gone."""
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies.
        os.killpg(leader, number)


def adopt_orphans() -> None:
    """Makes this process the parent of what its children leave behind, so that nothing can slip away. Linux only."""
    if _LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def end_children() -> int:
    """Kills every child that this process has, adopted ones included; returns how many there were."""
    count = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            count += 1
    return count


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def _ps(pid: int, field: str) -> str:
    outcome = subprocess.run(["ps", "-o", f"{field}=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return outcome.stdout.strip()
