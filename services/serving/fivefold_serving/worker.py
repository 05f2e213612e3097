"""Predicts natively in a child process: what serves a model that has no compiled form.

A child and not this process, because a learner costs 150 MB and more, and because a model file that crashes its library
must not take the others along. One call at a time; a child that died, or was ended because it did not answer, is started
again with the next call.

The child, `python -m fivefold_serving.worker PACKAGE`, reads packed columns from stdin and writes answers to stdout,
each after its length; it ends when stdin does.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import numpy as np

from fivefold_runtime import calls
from fivefold_serving import isolation
from fivefold_serving.columns import Columns, packed, unpacked
from fivefold_serving.features import ValueRefused
from fivefold_serving.predictor import Answers

ANSWER_SECONDS = 60.0  # that a child gets for one call, its start and the learner's import included
_LENGTH = struct.Struct("<Q")
_SHAPE = struct.Struct("<II")
_REFUSED = b""  # the answer when the model's library refuses the values


class WorkerLost(Exception):
    """The child ended in the middle of a call, or was ended because it did not answer."""


class Worker:
    """A Predictor that asks a child process."""

    def __init__(self, package: Path) -> None:
        """Starts the child. Raises OSError."""
        self._package = package
        self._turn = threading.Lock()
        self._child = self._start()

    def __call__(self, columns: Columns, rows: int) -> Answers:
        """As Predictor; WorkerLost when the child dies over it, DeadlineExceeded when it is not this call's turn in time."""
        call = calls.current.get()
        if not self._turn.acquire(timeout=min(ANSWER_SECONDS, call.remaining()) if call else ANSWER_SECONDS):
            raise calls.gone()
        try:
            if self._child.poll() is not None:
                self._child = self._start()
            _write(self._child.stdin, packed(columns))
            _await(self._child.stdout)
            answer = _read(self._child.stdout)
        except BaseException as error:
            self.close()  # An answer that nobody took must not become the next call's.
            if isinstance(error, (OSError, EOFError)):
                raise WorkerLost("the process of the model ended") from None
            raise
        finally:
            self._turn.release()
        if answer == _REFUSED:
            raise ValueRefused("", None, "the model's library refuses the values")
        shape = _SHAPE.unpack_from(answer)
        if shape[0] != rows:
            raise ValueRefused("", None, f"the model answers {shape[0]} rows for {rows}")
        return np.frombuffer(answer, np.float64, shape[0] * shape[1], _SHAPE.size).reshape(shape)

    def close(self) -> None:
        """Ends the child."""
        self._child.kill()
        self._child.wait()

    def __del__(self) -> None:
        if hasattr(self, "_child"):
            self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return isolation.start(
            "fivefold_serving.worker", str(self._package), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )


def _await(stream: IO[bytes] | None) -> None:
    """Waits for the first byte of an answer. Raises TimeoutError, an OSError."""
    assert stream is not None
    ready = select.poll()
    ready.register(stream, select.POLLIN)
    if not ready.poll(ANSWER_SECONDS * 1000):
        raise TimeoutError


def _write(stream: IO[bytes] | None, content: bytes) -> None:
    assert stream is not None
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _read(stream: IO[bytes] | None) -> bytes:
    """Raises EOFError when the other side ends."""
    assert stream is not None
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def main(package: Path) -> int:
    isolation.enter()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not get between the answers.
    from fivefold_serving.native import Native

    native = Native(package)
    while True:
        try:
            columns = unpacked(_read(sys.stdin.buffer))
        except EOFError:
            return 0
        try:
            found = native(columns, 0)
            _write(answers, _SHAPE.pack(*found.shape) + found.tobytes())
        except Exception:  # Libraries raise what they like for values that they do not take.
            _write(answers, _REFUSED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
