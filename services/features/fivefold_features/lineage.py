"""Walks from a resource to all that it was made from, and all that was made from it, as far as the caller may see.

What the caller may not read is stepped over: what lies beyond it is told as made from the last thing that may be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fivefold_features.names import owner_of, source_kind
from fivefold_features.store import Edge

Step = Callable[[Sequence[str], int], list[Edge]]


@dataclass(frozen=True, slots=True)
class Sight:
    """What the caller may see.

    caller    who asks
    readable  which of these resources may be read
    edits     whether a resource may be changed
    """

    caller: str
    readable: Callable[[Sequence[str]], set[str]]
    edits: Callable[[str], bool]


def downstream(step: Step, start: str, limit: int, sight: Sight) -> tuple[list[Edge], bool]:
    """Returns what was made from `start`, step by step, at most `limit` edges; and whether there are more."""
    found: dict[tuple[str, str], Edge] = {}
    seen_as, waiting, visited, cut = {start: start}, [start], {start}, False
    while waiting:
        edges = step(waiting, limit + 1)
        cut |= len(edges) > limit
        readable = sight.readable([edge.target for edge in edges if not edge.recorded])
        waiting = []
        for edge in edges:
            origin = seen_as.get(edge.source) or seen_as.get(owner_of(edge.source), start)
            told = edge if origin == edge.source or owner_of(edge.source) == origin else replace(edge, source=origin)
            hidden = not edge.recorded and edge.target not in readable
            if edge.recorded and not (edge.creator == sight.caller or sight.edits(owner_of(told.source))):
                continue
            if edge.target not in visited:
                visited.add(edge.target)
                seen_as[edge.target] = told.source if hidden else edge.target
                waiting.append(edge.target)
            if not hidden:
                found.setdefault((told.source, told.target), told)
    return list(found.values())[:limit], cut or len(found) > limit


def upstream(step: Step, start: str, limit: int, sight: Sight) -> tuple[list[Edge], bool]:
    """Returns what `start` was made from, step by step; what cannot be read ends the way."""
    found: dict[tuple[str, str], Edge] = {}
    waiting, visited, cut = [start], {start}, False
    while waiting:
        edges = step(waiting, limit + 1)
        cut |= len(edges) > limit
        readable = sight.readable([owner_of(edge.source) for edge in edges if source_kind(edge.source) is not None])
        waiting = []
        for edge in edges:
            if source_kind(edge.source) is not None and owner_of(edge.source) not in readable:
                continue
            if edge.recorded and not (edge.creator == sight.caller or sight.edits(owner_of(edge.source))):
                continue
            found.setdefault((edge.source, edge.target), edge)
            if edge.source not in visited and source_kind(edge.source) is not None:
                visited.add(edge.source)
                waiting.append(edge.source)
    return list(found.values())[:limit], cut or len(found) > limit
