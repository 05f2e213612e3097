"""The learners, by name. A new one is one file beside this and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from fivefold_automl.learners.base import Learner
from fivefold_automl.learners.decision_tree import DecisionTree
from fivefold_automl.learners.extra_trees import ExtraTrees
from fivefold_automl.learners.lightgbm import LightGBM
from fivefold_automl.learners.linear import Linear
from fivefold_automl.learners.random_forest import RandomForest
from fivefold_automl.learners.xgboost import XGBoost

LEARNERS: Mapping[str, Learner] = {
    learner.name: learner for learner in (DecisionTree(), Linear(), LightGBM(), XGBoost(), ExtraTrees(), RandomForest())
}
