"""Five services of the demo's own: started as `fivefold up`, stopped whatever happens."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from fivefold.demo.story import Failed

PORTS = range(1, 6)
PATIENCE_SECONDS = 90


class Installation:
    """A running installation with its data below `folder`; leaving the block stops it."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port or _free_base()
        self._process: subprocess.Popen[bytes] | None = None
        self.seconds = 0.0

    @property
    def address(self) -> str:
        """What fivefold.connect takes."""
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        began = time.monotonic()
        command = [sys.executable, "-m", "fivefold", "up", "--data", str(self._folder), "--port", str(self._port)]
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the services in good order.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            while not self._serving():
                if self._process.poll() is not None:
                    raise Failed(f"the services did not start: {self._last_words()}")
                if time.monotonic() - began > PATIENCE_SECONDS:
                    raise Failed(
                        f"the services did not answer within {PATIENCE_SECONDS} s; see {self._folder / 'logs'}"
                    )
                time.sleep(0.2)
        except BaseException:
            self.stop()
            raise
        self.seconds = time.monotonic() - began
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops the services and waits until they are gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    def _serving(self) -> bool:
        command = [sys.executable, "-m", "fivefold", "status", "--data", str(self._folder)]
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0

    def _last_words(self) -> str:
        assert self._process is not None and self._process.stderr is not None
        return self._process.stderr.read().decode(errors="replace").strip() or "no reason given"


def _free_base() -> int:
    """Finds a port P so that P + 1 … P + 5 are free; 7100 if they are."""
    for base in range(7100, 60000, 10):
        if all(_is_free(base + offset) for offset in PORTS):
            return base
    raise Failed("no five free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
