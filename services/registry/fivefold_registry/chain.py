"""A model's activities as a keyed hash chain: each hash is over the activity and the hash before it. Pure.

HMAC-SHA256 with a key that the database does not hold: who can write to the database but does not have the key can
neither change an activity, nor take one out, nor make the chain anew. A tail that was cut off, and a chain that was made
anew with the key, show against a head that was kept elsewhere; so does a chain whose database was made to forget its key,
which the next start begins anew and warns of. The text of a comment enters by a digest, keyed too, so that it can be
deleted and then not be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

Part = str | int | bool | None


class Fault(StrEnum):
    """What is wrong with a chain."""

    EDITED = "edited"
    MISSING = "missing"
    CUT = "cut"
    RECOMPUTED = "recomputed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: the last sequence number and its hash; 0 and "" of an empty one."""

    sequence: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """One activity as it is stored: the parts that its hash is over, in their order, and the hash."""

    sequence: int
    parts: tuple[Part, ...]
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: `head` is the last link that is there, `bad` the sequence number of the first at fault."""

    count: int
    head: Head
    fault: Fault | None = None
    bad: int = 0


class Chain:
    """Computes hashes with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def mark(self) -> str:
        """What tells this key from others, without giving it away."""
        return self._mac(["mark"])

    def hash(self, before: str, parts: tuple[Part, ...]) -> str:
        """Returns the hash of an activity that follows the one with the hash `before`, as 64 hexadecimal digits."""
        return self._mac(["activity", before, *parts])

    def digest(self, model_id: str, comment: int, text: str) -> str:
        """Returns the digest of a comment's text, as 64 hexadecimal digits."""
        return self._mac(["comment", model_id, comment, text])

    def check(self, links: Iterable[Link], written: Head, expected: Head | None = None) -> Verdict:
        """Checks a chain from its first link to its last.

        links     in the order of their sequence numbers
        written   the head as the model itself remembers it
        expected  a head that was kept elsewhere
        """
        walk = _Walk(self, expected or Head())
        for link in links:
            walk.step(link)
        return walk.end(written)

    def _mac(self, parts: list[Part]) -> str:
        body = json.dumps(parts, separators=(",", ":"), ensure_ascii=True).encode()
        return hmac.new(self._key, body, hashlib.sha256).hexdigest()


class _Walk:
    """A check on its way. It goes to the end whatever it finds, because what follows a bad link tells what it is."""

    def __init__(self, chain: Chain, expected: Head) -> None:
        self._chain = chain
        self._expected = expected
        self._head = Head()
        self._count = 0
        self._gap = 0  # first sequence number that is not there
        self._bad = 0  # first link whose hash is not right
        self._good_after = False  # a later one is
        self._unexpected = False  # the expected head's link has another hash

    def step(self, link: Link) -> None:
        self._count += 1
        if link.sequence != self._head.sequence + 1 and not self._gap:
            self._gap = self._head.sequence + 1
        elif not self._gap:
            right = hmac.compare_digest(self._chain.hash(self._head.hash, link.parts), link.hash)
            if not right and not self._bad:
                self._bad = link.sequence
            elif right and self._bad:
                self._good_after = True
        if link.sequence == self._expected.sequence:
            self._unexpected = link.hash != self._expected.hash
        self._head = Head(link.sequence, link.hash)

    def end(self, written: Head) -> Verdict:
        last = self._head.sequence
        if self._bad and (not self._gap or self._bad < self._gap):
            # An edit breaks its own link and a move a few: later ones go on from the hashes stored. None right: another key.
            anew = self._unexpected or (self._bad == 1 < last and not self._good_after and not self._gap)
            return self._verdict(Fault.RECOMPUTED if anew else Fault.EDITED, self._bad)
        if self._gap:
            return self._verdict(Fault.MISSING, self._gap)
        if last < max(written.sequence, self._expected.sequence):
            return self._verdict(Fault.CUT, last + 1)
        if self._unexpected:
            return self._verdict(Fault.RECOMPUTED, self._expected.sequence)
        if last > written.sequence:
            return self._verdict(Fault.ADDED, written.sequence + 1)
        if self._head.hash != written.hash:
            return self._verdict(Fault.RECOMPUTED, last)
        return Verdict(self._count, self._head)

    def _verdict(self, fault: Fault, bad: int) -> Verdict:
        return Verdict(self._count, self._head, fault, bad)
