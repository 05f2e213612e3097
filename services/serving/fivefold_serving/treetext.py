"""Checks LightGBM text models before LightGBM's library sees them. Pure: text in, text out.

The library trusts its files: a feature or child index out of range reads foreign memory, and a child that leads back
to its parent never ends. A package's trees are data of a stranger, so they are read here, and what the library gets is
written anew from what was checked: there is no second reading that could differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_CATEGORICAL = 1  # this bit of a decision type: the threshold is the number of a set of categories
_DECISIONS = 16  # categorical, default left, and two bits for the missing type
_WORD = 2**32  # sets of categories are bits in 32-bit words
_INTEGERS = b"0123456789- "
_NUMBERS = b"0123456789+-.eEinfa "  # with inf and nan


class TreesInvalid(Exception):
    """The text is no model of plain trees that is safe to evaluate."""


def checked(text: str, width: int) -> str:
    """Returns the same trees over `width` features, as they may be loaded. Raises TreesInvalid.

    Only what raw scores depend on is kept: no objective, gains, counts or parameters.
    """
    lines = text.encode(errors="replace").splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(b"Tree=")), len(lines))
    head = _pairs(line for line in lines[:start] if b"=" in line)
    names = [name for name in head.get(b"feature_names", b"").split(b" ") if name]
    features = _one(head, b"max_feature_idx") + 1
    if features != width:
        raise TreesInvalid(f"the trees read {features} features, the plan makes {width}")
    if len(names) != width:
        raise TreesInvalid(f"the trees name {len(names)} features, not {width}")
    trees = [_tree(number, block, width) for number, block in enumerate(_blocks(lines[start:]))]
    scores = _one(head, b"num_class")
    if not 1 <= scores <= max(1, len(trees)) or len(trees) % scores or _one(head, b"num_tree_per_iteration") != scores:
        raise TreesInvalid(f"{len(trees)} trees do not make {scores} scores")
    made = [
        b"tree", b"version=v4", b"num_class=%d" % scores, b"num_tree_per_iteration=%d" % scores, b"label_index=0",
        b"max_feature_idx=%d" % (width - 1), b"objective=custom",
        *([b"average_output"] if b"average_output" in lines[:start] else ()),
        b"feature_names=" + b" ".join(b"f%d" % place for place in range(width)),
        b"feature_infos=" + b" ".join([b"none"] * width), b"", *trees, b"end of trees", b"",
    ]  # fmt: skip
    return b"\n".join(made).decode("ascii")


def _blocks(lines: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    """Yields the lines of each tree, without the line that starts it."""
    block: list[bytes] | None = None
    for line in lines:
        if line.startswith(b"Tree=") or line == b"end of trees":
            if block is not None:
                yield block
            block = []
            if not line.startswith(b"Tree="):
                return
        elif line and block is not None:
            block.append(line)
    if lines:
        raise TreesInvalid("the trees have no end")


def _tree(number: int, block: Sequence[bytes], width: int) -> bytes:
    """Returns one tree, written anew."""
    try:
        return _written(number, _pairs(block), width)
    except TreesInvalid as error:
        raise TreesInvalid(f"tree {number}: {error}") from None


def _written(number: int, tree: dict[bytes, bytes], width: int) -> bytes:
    leaves, sets = _one(tree, b"num_leaves"), _one(tree, b"num_cat")
    if leaves < 1 or sets < 0:
        raise TreesInvalid(f"num_leaves is {leaves}, num_cat is {sets}")
    if b"is_linear" in tree and _one(tree, b"is_linear"):
        raise TreesInvalid("its leaves are linear models")
    inner = leaves - 1
    made = [b"Tree=%d" % number, b"num_leaves=%d" % leaves, b"num_cat=%d" % sets]
    made += [b"leaf_value=" + b" ".join(_numbers(tree, b"leaf_value", leaves))]
    if inner:
        features = _integers(tree, b"split_feature", inner, 0, width)
        thresholds = _numbers(tree, b"threshold", inner)
        decisions = _integers(tree, b"decision_type", inner, 0, _DECISIONS)
        for place in np.flatnonzero(decisions & _CATEGORICAL).tolist():
            if not (thresholds[place].isdigit() and len(thresholds[place]) < 10 and int(thresholds[place]) < sets):
                raise TreesInvalid(f"node {place} splits by a set of categories that is not there")
        made += [
            _line(b"split_feature", features), b"threshold=" + b" ".join(thresholds),
            _line(b"decision_type", decisions),
            _line(b"left_child", _children(tree, b"left_child", inner)),
            _line(b"right_child", _children(tree, b"right_child", inner)),
        ]  # fmt: skip
        if sets:
            words = len(tree.get(b"cat_threshold", b"").split())
            borders = _integers(tree, b"cat_boundaries", sets + 1, 0, words + 1)
            if borders[0] != 0 or borders[-1] != words or (np.diff(borders) < 0).any():
                raise TreesInvalid("cat_boundaries do not divide cat_threshold")
            made += [_line(b"cat_boundaries", borders)]
            made += [_line(b"cat_threshold", _integers(tree, b"cat_threshold", words, 0, _WORD))]
    elif sets:
        raise TreesInvalid("sets of categories without a split")
    return b"\n".join([*made, b"is_linear=0", b"shrinkage=1", b"", b""])


def _children(tree: dict[bytes, bytes], key: bytes, inner: int) -> NDArray[np.int64]:
    """Returns children: ~leaf, or an inner node after its parent, so that every walk ends."""
    children = _integers(tree, key, inner, -inner - 1, inner)
    if ((children >= 0) & (children <= np.arange(inner))).any():
        raise TreesInvalid(f"{key.decode()} leads back")
    return children


def _pairs(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for line in lines:
        key, _, value = line.partition(b"=")
        if key in found:
            raise TreesInvalid("a key is there twice")
        found[key] = value
    return found


def _one(pairs: dict[bytes, bytes], key: bytes) -> int:
    return int(_integers(pairs, key, 1, -(2**31), 2**31)[0])


def _integers(pairs: dict[bytes, bytes], key: bytes, count: int, least: int, end: int) -> NDArray[np.int64]:
    """Returns `count` integers from `least` to before `end`."""
    try:
        found = np.array([int(token) for token in _tokens(pairs, key, count, _INTEGERS)], np.int64)
    except (ValueError, OverflowError):
        raise TreesInvalid(f"{key.decode()} are no integers") from None
    if count and not (least <= found.min() and found.max() < end):
        raise TreesInvalid(f"{key.decode()} is out of range")
    return found


def _numbers(pairs: dict[bytes, bytes], key: bytes, count: int) -> list[bytes]:
    """Returns `count` numbers as they are written: no index depends on them."""
    return _tokens(pairs, key, count, _NUMBERS)


def _tokens(pairs: dict[bytes, bytes], key: bytes, count: int, characters: bytes) -> list[bytes]:
    value = pairs.get(key)
    if value is None:
        raise TreesInvalid(f"{key.decode()} is missing")
    if value.translate(None, characters):
        raise TreesInvalid(f"{key.decode()} are no numbers")
    found = value.split()
    if len(found) != count:
        raise TreesInvalid(f"{key.decode()} has {len(found)} values, not {count}")
    return found


def _line(key: bytes, values: NDArray[np.int64]) -> bytes:
    return key + b"=" + " ".join(map(str, values.tolist())).encode()
