"""Metrics on the validation rows: which there are, which way is better, and how they are computed.

The table is pure; `evaluate` runs in a Ray worker and imports scikit-learn there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fivefold_automl.spec import Problem


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `greater_is_better` decides the order of the leaderboard."""

    name: str
    problem: Problem
    greater_is_better: bool


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", Problem.CLASSIFICATION, True),
        Metric("log_loss", Problem.CLASSIFICATION, False),
        Metric("accuracy", Problem.CLASSIFICATION, True),
        Metric("f1", Problem.CLASSIFICATION, True),
        Metric("rmse", Problem.REGRESSION, False),
        Metric("mae", Problem.REGRESSION, False),
        Metric("r2", Problem.REGRESSION, True),
    )
}


def default_metric(problem: Problem, classes: int) -> str:
    """Returns what trials are ranked by when the job does not say. `classes` is 0 for regression."""
    if problem is Problem.REGRESSION:
        return "rmse"
    return "roc_auc" if classes == 2 else "log_loss"


def rank(metric: str, score: float) -> float:
    """Returns a number that is smaller the better the score is, so that one index orders every leaderboard."""
    return -score if METRICS[metric].greater_is_better else score


def evaluate_classes(codes: Any, probabilities: Any) -> dict[str, float]:
    """Scores class probabilities.

    codes          n true classes as integers from 0
    probabilities  n × k, rows sum to 1; with k = 2 the second column is the positive class
    returns        every classification metric; ROC AUC of more than two classes is the macro mean one-vs-rest
    """
    import numpy as np
    from sklearn import metrics

    probabilities = np.asarray(probabilities, dtype=np.float64)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # Single precision sums to almost 1.
    classes = probabilities.shape[1]
    labels = np.arange(classes)
    predicted = probabilities.argmax(axis=1)
    binary = classes == 2
    scores = {
        "log_loss": metrics.log_loss(codes, probabilities, labels=labels),
        "accuracy": metrics.accuracy_score(codes, predicted),
        "f1": metrics.f1_score(codes, predicted, zero_division=0)
        if binary
        else metrics.f1_score(codes, predicted, average="macro", labels=labels, zero_division=0),
    }
    if len(np.unique(codes)) == classes:  # ROC AUC is not defined for a class without validation rows.
        scores["roc_auc"] = (
            metrics.roc_auc_score(codes, probabilities[:, 1])
            if binary
            else metrics.roc_auc_score(codes, probabilities, multi_class="ovr", labels=labels)
        )
    return {name: float(score) for name, score in scores.items()}


def evaluate_numbers(truth: Any, predicted: Any) -> dict[str, float]:
    """Scores predicted numbers: n true and n predicted ones. Returns every regression metric."""
    from sklearn import metrics

    scores = {
        "rmse": metrics.root_mean_squared_error(truth, predicted),
        "mae": metrics.mean_absolute_error(truth, predicted),
        "r2": metrics.r2_score(truth, predicted),
    }
    return {name: float(score) for name, score in scores.items()}
