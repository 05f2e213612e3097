"""One service in an environment that holds nothing but its own lock and our wheels, and the process that runs there."""

import json
import os
import queue
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Alone:
    """A service installed by itself."""

    service: str
    python: Path

    def evaluate(self, program: str) -> str:
        """Runs a program there and returns what it prints. Raises with its stderr when it fails."""
        ended = subprocess.run(
            [self.python, "-I", "-c", program], capture_output=True, text=True, check=False, env=_clean()
        )
        assert ended.returncode == 0, f"in the environment of {self.service}:\n{ended.stderr}"
        return ended.stdout

    def has(self, module: str) -> bool:
        return self.evaluate(f"import importlib.util as u; print(bool(u.find_spec({module!r})))").strip() == "True"

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", f"fivefold_{self.service}", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the service's own command line to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, env=_clean())


@dataclass
class Running:
    """A service's process; `port` waits until it serves."""

    process: subprocess.Popen
    lines: list[str] = field(default_factory=list)
    _ports: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)

    @classmethod
    def start(cls, alone: Alone, data: Path) -> "Running":
        command = alone.command("--listen", "127.0.0.1:0", "--data", str(data))
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=data.parent, env=_clean()
        )
        running = cls(process)
        threading.Thread(target=running._read, daemon=True).start()
        return running

    def port(self) -> int:
        """Returns the port once the process logs that it serves; fails when it ends before."""
        port = self._ports.get()
        assert port, f"{' '.join(self.process.args)} ended with {self.process.wait()}:\n{''.join(self.lines[-40:])}"
        return port

    def stop(self) -> int:
        """Sends SIGTERM and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("{") and (said := json.loads(line)).get("message") == "serving":
                self._ports.put(said["port"])
        self._ports.put(0)


def _clean() -> dict[str, str]:
    """This process's environment without what would configure a service or lend it our packages."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("FIVEFOLD_", "PYTHON", "VIRTUAL_ENV"))
    }
