"""Autologging: what scikit-learn, XGBoost and LightGBM train within a block is recorded without a further line.

    with client.tracking.run("churn") as run, run.autolog():
        GradientBoostingClassifier().fit(X, y)

Of each model: its params, the library's version, metrics of every iteration that the library evaluates, its score on
the training data, its feature importances (`feature_importances.json`), and its package (`model/`), which the registry
takes. The first model goes to the run itself, each further one to a nested run of its own; what is fitted by something
that is being fitted (steps of a pipeline, candidates of a search, also in joblib's threads) is part of it and not
recorded for itself. Processes that joblib starts record nothing.

The libraries are changed within the block only, in the whole process, and only those that are imported when it begins
or while it lasts as part of them. Recording never fails training: what goes wrong in it is a warning of the logger
"fivefold.tracking", and training goes on.
"""

from fivefold.sdk.tracking.autolog.recording import Autolog

__all__ = ["Autolog"]
