"""The service as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc

from fivefold_runtime.app import App
from fivefold_runtime.testing import Running
from tests.features.calling import Client


class Process:
    """The service as a process of its own, to be killed."""

    def __init__(self, data: Path, *settings: str) -> None:
        command = [sys.executable, "-m", "fivefold_features", "--data", str(data), "--listen", "127.0.0.1:0", *settings]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FIVEFOLD_")}
        self._popen = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            assert self._popen.stderr is not None
            port = next(json.loads(line)["port"] for line in self._popen.stderr if '"port"' in line)
        except BaseException:  # Nobody has the object yet, so nobody else would end the process.
            self._popen.kill()
            self._popen.wait()
            raise
        self._reader = threading.Thread(target=self._popen.stderr.read, daemon=True)
        self._reader.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.client = Client(Running(f"127.0.0.1:{port}", self._channel, App(servicers={}), None))  # type: ignore[arg-type]

    def kill(self) -> None:
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()
        self._reader.join()
        self._channel.close()
