"""Starts child processes that touch model files, and locks them in from inside.

A child gets no environment of ours (so no credentials), one thread for each library, limited memory and processor
time, and no new privileges. It reads files of one version and writes into one folder; it needs no network and is
given nothing to use it with.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from typing import Any

MEMORY_BYTES = 8 * 1024**3  # of address space; libraries reserve more than they use
_NO_NEW_PRIVILEGES = 38  # prctl PR_SET_NO_NEW_PRIVS
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start(module: str, *arguments: str, **pipes: Any) -> subprocess.Popen[bytes]:
    """Starts `python -m module arguments…`; `pipes` as subprocess.Popen has them. Raises OSError."""
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"} | dict.fromkeys(_THREADS, "1")
    return subprocess.Popen([sys.executable, "-I", "-m", module, *arguments], env=environment, cwd="/", **pipes)


def enter(cpu_seconds: int | None = None) -> None:
    """Locks the running child in, before it reads anything."""
    os.umask(0o077)
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if cpu_seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
