"""Turns a fitted model into a plan (see fivefold_serving.plan). Runs in a child process only: it imports the learners.

`symbols` what a feature is while it is traced, `preprocess` traces it through scikit-learn's transformers,
`estimators` turns the model at the end into a node, `trees` writes ensembles as LightGBM text, `examples` makes the
rows that the plan is checked with.
"""


class NotCompilable(Exception):
    """The model holds a part that plans do not have; it then runs natively. The message names the part."""
