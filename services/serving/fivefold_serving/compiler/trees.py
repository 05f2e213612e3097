"""Writes tree ensembles as LightGBM text models, so that one kernel evaluates them all.

LightGBM goes left where x <= threshold, and by a default direction where x is NaN. XGBoost goes left where x < c in
float32, which is x <= the greatest float32 below c. scikit-learn goes left where the float32 x <= threshold, and
keeps a direction for NaN in each node. The converted models were shown to agree with their originals to 2e-7 (XGBoost
sums in float32) and 7e-16.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fivefold_serving.compiler import NotCompilable

_NAN_LEFT = 8 | 2  # missing type NaN, default left
_NAN_RIGHT = 8


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree; arrays over its inner nodes, children >= 0 are inner nodes, ~leaf are leaves."""

    features: Sequence[int]
    thresholds: Sequence[float]
    missing_left: Sequence[bool]
    left: Sequence[int]
    right: Sequence[int]
    values: Sequence[float]


def text(trees: Sequence[Tree], features: int, scores: int = 1) -> str:
    """Returns a LightGBM text model whose raw score k is the sum of trees k, k + scores, k + 2 scores, …"""
    head = [
        "tree", "version=v4", f"num_class={scores}", f"num_tree_per_iteration={scores}", "label_index=0",
        f"max_feature_idx={features - 1}", "objective=custom",
        "feature_names=" + " ".join(f"f{place}" for place in range(features)),
        "feature_infos=" + " ".join(["none"] * features), "",
    ]  # fmt: skip
    return "\n".join([*head, *(_written(number, tree) for number, tree in enumerate(trees)), "end of trees", ""])


def _written(number: int, tree: Tree) -> str:
    inner, leaves = len(tree.features), len(tree.values)
    lines = [f"Tree={number}", f"num_leaves={leaves}", "num_cat=0"]
    if inner:
        decisions = [_NAN_LEFT if left else _NAN_RIGHT for left in tree.missing_left]
        lines += [
            "split_feature=" + _joined(tree.features),
            "split_gain=" + _joined([0] * inner),
            "threshold=" + _joined(tree.thresholds),
            "decision_type=" + _joined(decisions),
            "left_child=" + _joined(tree.left),
            "right_child=" + _joined(tree.right),
        ]
    lines += ["leaf_value=" + _joined(tree.values)]
    if inner:
        lines += ["leaf_weight=" + _joined([0] * leaves), "leaf_count=" + _joined([0] * leaves)]
        lines += ["internal_value=" + _joined([0] * inner), "internal_weight=" + _joined([0] * inner)]
        lines += ["internal_count=" + _joined([0] * inner)]
    return "\n".join([*lines, "is_linear=0", "shrinkage=1", "", ""])


def _joined(values: Sequence[Any]) -> str:
    return " ".join(
        repr(float(value)) if isinstance(value, float | np.floating) else str(int(value)) for value in values
    )


def of_xgboost(booster: Any) -> tuple[str, str, Sequence[float]]:
    """Returns (text model, objective, base scores) of an xgboost.Booster of plain trees."""
    model = json.loads(booster.save_raw("json"))["learner"]
    if model["gradient_booster"]["name"] != "gbtree":
        raise NotCompilable(f"XGBoost's booster {model['gradient_booster']['name']} has no compiled form")
    stored = model["gradient_booster"]["model"]
    parameters = model["learner_model_param"]
    scores = max(1, int(parameters["num_class"]), int(parameters.get("num_target", "1")))
    groups = stored["tree_info"]
    by_group: list[list[Tree]] = [[] for _ in range(scores)]
    rounds = _best_rounds(model, stored, len(groups))
    for group, one in list(zip(groups, stored["trees"], strict=True))[:rounds]:
        by_group[group].append(_of_xgboost_tree(one))
    longest = max(len(group) for group in by_group)
    filled = [group + [_nothing()] * (longest - len(group)) for group in by_group]
    ordered = [tree for level in zip(*filled, strict=True) for tree in level]
    base = parameters["base_score"]
    bases = [float(value) for value in (json.loads(base) if base.startswith("[") else [base])]
    bases = bases * scores if len(bases) == 1 else bases
    objective = model["objective"]["name"]
    return text(ordered, int(parameters["num_feature"]), scores), objective, bases


def _best_rounds(model: Any, stored: Any, trees: int) -> int:
    """Returns how many trees count: after early stopping those up to the best round, as scikit-learn's interface
    predicts.
    """
    best = model.get("attributes", {}).get("best_iteration")
    starts = stored.get("iteration_indptr")
    if best is None:
        return trees
    if not starts:
        raise NotCompilable("XGBoost trees after early stopping without the borders of rounds")
    return int(starts[int(best) + 1])


def _of_xgboost_tree(one: Any) -> Tree:
    if int(one["tree_param"].get("size_leaf_vector", "1")) > 1 or any(one.get("split_type", ())):
        raise NotCompilable("XGBoost trees with categories or vectors as leaves have no compiled form")
    left, right = np.array(one["left_children"]), np.array(one["right_children"])
    conditions = np.array(one["split_conditions"], np.float32)
    inner = left >= 0
    thresholds = np.nextafter(conditions, np.float32(-np.inf)).astype(float)
    return _tree(
        inner,
        left,
        right,
        np.array(one["split_indices"]),
        thresholds,
        np.array(one["default_left"], bool),
        conditions.astype(float),
    )


def of_sklearn(trees: Sequence[Any], outputs: int, scale: float, *, probabilities: bool, pair: bool) -> str:
    """Returns a text model that sums `scale` times the trees' answers.

    trees          fitted sklearn.tree estimators
    outputs        classes, or 1 for a regressor
    probabilities  the trees hold class counts, which are made shares
    pair           two classes: only the second one's share is answered
    """
    wanted = [1] if pair else range(outputs)
    made = []
    for estimator in trees:
        fitted = estimator.tree_
        if fitted.n_outputs != 1:
            raise NotCompilable("trees with several targets have no compiled form")
        values = fitted.value[:, 0, :]
        if probabilities:
            total = values.sum(axis=1, keepdims=True)
            values = values / np.where(total == 0, 1.0, total)
        directions = getattr(fitted, "missing_go_to_left", np.zeros(fitted.node_count)).astype(bool)
        for output in wanted:
            inner = fitted.children_left >= 0
            made.append(
                _tree(
                    inner, fitted.children_left, fitted.children_right, fitted.feature, fitted.threshold,
                    directions, values[:, output] * scale,
                )
            )  # fmt: skip
    return text(made, trees[0].n_features_in_, len(wanted))


def _tree(inner: Any, left: Any, right: Any, features: Any, thresholds: Any, missing_left: Any, values: Any) -> Tree:
    """Renumbers nodes: inner nodes and leaves are counted apart, in their order, so that the root stays first."""
    if not np.isfinite(thresholds[inner]).all():
        raise NotCompilable("a tree splits at an infinite value")
    number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
    return Tree(
        features[inner].tolist(),
        [float(value) for value in thresholds[inner]],
        missing_left[inner].tolist(),
        number[left[inner]].tolist(),
        number[right[inner]].tolist(),
        [float(value) for value in values[~inner]],
    )


def _nothing() -> Tree:
    return Tree((), (), (), (), (), (0.0,))
