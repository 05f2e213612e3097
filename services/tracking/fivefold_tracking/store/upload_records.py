"""What the store of uploads takes and hands out, as those of `records.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UploadKey:
    """Which upload: a caller's file of one content at one path."""

    parent: str  # id
    path: str
    sha256: str
    subject: str


@dataclass(frozen=True, slots=True)
class PartRecord:
    """Bytes of an upload that are kept, from `start` on."""

    start: int
    size: int
    writer: str


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """What has arrived of an upload that is not over."""

    id: str
    parts: tuple[PartRecord, ...] = ()

    @property
    def received(self) -> int:
        return self.parts[-1].start + self.parts[-1].size if self.parts else 0
