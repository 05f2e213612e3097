"""The notes service as a real process, for tests of starting and stopping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
_PROGRAM = """
import sys
sys.path[:0] = {path!r}
from notes import Config, build
from fivefold_runtime.main import run
sys.exit(run("notes", Config, build))
"""


class Process:
    """One process; its stderr goes to a file."""

    def __init__(self, folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> None:
        stubs = [path for path in sys.path if "fivefold-notes-" in path]
        self._log = folder / f"log-{time.monotonic_ns()}"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(path=[str(HERE), *stubs]), *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | (environ or {}),
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def said(self, message: str) -> dict[str, object]:
        """Waits for the log line with this message and returns its fields."""
        while True:
            ended = self.process.poll() is not None
            for line in self._log.read_text().splitlines():
                if line.startswith("{") and json.loads(line)["message"] == message:
                    return json.loads(line)
            assert not ended, self._log.read_text()
            time.sleep(0.01)

    def wait(self) -> tuple[int, str, str]:
        """Waits for the end and returns exit code, stdout, stderr."""
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out, self._log.read_text()
