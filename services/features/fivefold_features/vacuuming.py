"""What a vacuum gives up, and which files nothing reads any more. Pure.

A version is read from the newest compaction at or below it, of the same base, and the files of the writes after that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Version:
    """A version, as far as this matters. `created`: microseconds; `retired`: its own file is given up."""

    number: int
    base: int
    created: int
    vacuumed: bool = False
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Compaction:
    """One file with all rows of a version."""

    version: int
    base: int


@dataclass(frozen=True, slots=True)
class Vacuum:
    """Numbers of versions, oldest first.

    given_up     can no longer be read
    pinned       would be given up but for a training set
    files        versions whose own files nothing reads
    compactions  versions whose compactions nothing reads
    """

    given_up: tuple[int, ...]
    pinned: tuple[int, ...]
    files: tuple[int, ...]
    compactions: tuple[int, ...]


def vacuum(
    versions: Sequence[Version], compactions: Sequence[Compaction], pins: Collection[int], oldest: int
) -> Vacuum:
    """Plans a vacuum.

    versions  all of a table, by number
    pins      versions that training sets were built from
    oldest    microseconds; a version that was the newest at that time or later is kept
    """
    replaced_at = [later.created for later in versions[1:]]
    kept, given_up, pinned = [], [], []
    for version, until in zip(versions, [*replaced_at, None], strict=True):
        if version.vacuumed:
            continue
        if until is None or until > oldest:
            kept.append(version)
        elif version.number in pins:
            kept.append(version)
            pinned.append(version.number)
        else:
            given_up.append(version.number)
    used_files, used_compactions = _used(kept, compactions)
    return Vacuum(
        tuple(given_up),
        tuple(pinned),
        tuple(v.number for v in versions if not v.retired and v.number not in used_files),
        tuple(c.version for c in compactions if c.version not in used_compactions),
    )


def superseded(versions: Sequence[Version], compactions: Sequence[Compaction], newest: int) -> tuple[int, ...]:
    """Returns the compactions before `newest` that no version needs, since its files are all there."""
    retired = sorted(version.number for version in versions if version.retired)
    needed, before = [], -1
    for one in sorted(compactions, key=lambda each: each.version):
        first = max(before, one.base - 1)
        if bisect_right(retired, one.version) > bisect_right(retired, first):
            before = one.version
            needed.append(one.version)
    return tuple(one.version for one in compactions if one.version < newest and one.version not in needed)


def _used(kept: Sequence[Version], compactions: Sequence[Compaction]) -> tuple[set[int], set[int]]:
    by_base: dict[int, list[int]] = {}
    for one in sorted(compactions, key=lambda each: each.version):
        by_base.setdefault(one.base, []).append(one.version)
    files: set[int] = set()
    wholes: set[int] = set()
    reached: dict[int, int] = {}  # by the first file: up to where files are noted already
    for version in kept:
        wholes_here = by_base.get(version.base, [])
        place = bisect_right(wholes_here, version.number)
        first = max(version.base, 1)
        if place:
            first = wholes_here[place - 1] + 1
            wholes.add(wholes_here[place - 1])
        files.update(range(max(first, reached.get(first, first)), version.number + 1))
        reached[first] = version.number + 1
    return files, wholes
