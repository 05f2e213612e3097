"""A version of a model as the registry states it: its number, its files and their digests. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version: relative path, size, 64 hexadecimal digits."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the model `models/{model}`. `files` is empty where only the number matters."""

    model: str
    number: int
    digest: str
    files: tuple[File, ...] = ()

    @property
    def name(self) -> str:
        return f"models/{self.model}/versions/{self.number}"


def digest_of(files: Sequence[File]) -> str:
    """Returns the digest over all files: of the lines that `sha256sum` prints, by path."""
    lines = (f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
