"""What the stores of artifacts, of unfinished uploads and of purges promise, as those of `protocol.py`.

A `parent` is the id of the run or logged model that artifacts belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from fivefold_tracking.store.records import ArtifactRecord, Key, Page
from fivefold_tracking.store.upload_records import PartRecord, UploadKey, UploadRecord


class ArtifactStore(Protocol):
    """The entries of artifacts; their bytes are in the object store, by digest."""

    def put(
        self, parent: str, path: str, size: int, sha256: str, now: int, is_stored: Callable[[], bool]
    ) -> ArtifactRecord | None:
        """Enters a file, or replaces it; None, with nothing changed, when its bytes are not stored any more.

        `is_stored` is asked while nobody can remove them. Raises RunDeleted, LoggedModelDeleted, PathTaken.
        """
        ...

    def check_writable(self, parent: str) -> None:
        """Raises RunDeleted, LoggedModelDeleted."""
        ...

    def get(self, parent: str, path: str) -> ArtifactRecord:
        """Returns a file. Raises NotFound for a folder."""
        ...

    def list(self, parent: str, folder: str, *, recursive: bool, after: Key | None, limit: int) -> Page[ArtifactRecord]:
        """Returns what is directly in a folder, or every file below it, by path. The key is (path,)."""
        ...

    def delete(self, parent: str, path: str) -> None:
        """Takes a file away, or a folder with everything below it, and the folders that are empty then.

        Raises RunDeleted, LoggedModelDeleted.
        """
        ...

    def unused(self, after: str, limit: int) -> Sequence[str]:
        """Returns digests, in order, of contents that no file has."""
        ...

    def remove(self, sha256: str, erase: Callable[[], None]) -> bool:
        """Forgets a content unless a file has it, and calls `erase` while no file can get it; says whether it did."""
        ...

    def unknown(self, digests: Sequence[str]) -> set[str]:
        """Returns those of the digests that are no known content's."""
        ...

    def know(self, contents: Mapping[str, int], now: int) -> None:
        """Notes contents that were found in the object store: digest and size in bytes."""
        ...


class UploadStore(Protocol):
    """What has arrived of uploads. `writer` is the call that holds one; `since` the oldest that counts."""

    def received(self, key: UploadKey, since: int) -> int:
        """Returns how many bytes from the start are kept, 0 for none."""
        ...

    def begin(self, id: str, writer: str, key: UploadKey, now: int, most: int, most_bytes: int) -> Sequence[str]:
        """Adds an upload; returns the ids of the caller's that were dropped for it.

        most, most_bytes  how many uploads a caller has at most, and how large they are together, the newest first
        """
        ...

    def take(self, key: UploadKey, offset: int, writer: str, now: int, since: int) -> UploadRecord | None:
        """Takes over an upload of which `offset` bytes have arrived; None when there is none."""
        ...

    def add(self, id: str, part: PartRecord, now: int) -> bool:
        """Adds a part at the end; False when its writer does not hold the upload any more."""
        ...

    def end(self, id: str, writer: str) -> bool:
        """Forgets an upload; False when the writer does not hold it any more."""
        ...

    def expire(self, before: int) -> Sequence[str]:
        """Forgets uploads that nobody went on with since then; returns their ids."""
        ...

    def unknown(self, ids: Iterable[str]) -> set[str]:
        """Returns those of the ids that are no upload's."""
        ...


class PurgeStore(Protocol):
    """Purges: what is marked is there for nobody any more; its rows go later."""

    def mark_runs(self, experiment: int, before: int | None, ids: Collection[str] | None) -> int:
        """Marks deleted runs of an experiment, some per transaction; returns how many.

        before  only those deleted before then
        ids     only these; None means all
        """
        ...

    def mark_models(self, experiment: int, before: int | None, ids: Collection[str] | None) -> int:
        """Does the same to logged models."""
        ...

    def mark_experiment(self, number: int) -> None:
        """Marks a deleted experiment and takes its grants away. Raises NotDeleted."""
        ...

    def remove(self) -> bool:
        """Removes some rows of what is marked; False when there were none."""
        ...
