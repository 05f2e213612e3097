"""Makes one version ready to answer, away from the calls: fetch, verify, compile, compare, warm up.

Everything that is wrong with a version ends as VersionRefused with a sentence for people; nothing of it touches what
is live. A registry or features service that does not answer is no fault of the version: Unavailable, to be tried
again.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import grpc
import numpy as np

from fivefold.models import package as packages
from fivefold.models.package import FeatureSpec, Package, PackageInvalid
from fivefold.models.signature import Column
from fivefold_runtime.errors import FivefoldError
from fivefold_serving import check
from fivefold_serving.cache import Cache, FilesRefused
from fivefold_serving.clients import Features, Registry
from fivefold_serving.columns import Values
from fivefold_serving.features import ValueRefused
from fivefold_serving.kernel import KernelError
from fivefold_serving.plan import Plan, PlanInvalid
from fivefold_serving.plans import CompilerRefused, planned
from fivefold_serving.predictor import Answers, Compiled, Predictor
from fivefold_serving.served import Loaded
from fivefold_serving.versions import Version
from fivefold_serving.worker import Worker, WorkerLost

log = logging.getLogger(__name__)

TOLERANCE = 1e-6  # of the greatest answer, or of 1; XGBoost itself sums in single precision
WARM_ROWS = (1, 32, 1024)
_MAY_HELP_TO_WAIT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


class VersionRefused(Exception):
    """The version cannot be served; the message says why."""


class Loader:
    """Loads versions. Safe for use by several threads, for different versions."""

    def __init__(self, cache: Cache, registry: Registry, features: Features) -> None:
        self._cache = cache
        self._registry = registry
        self._features = features

    def load(self, version: Version) -> Loaded:
        """Returns the version, ready. Raises VersionRefused; Unavailable and OSError when it is worth another try."""
        with self._cache.using(version.digest):
            return self._load(version)

    def _load(self, version: Version) -> Loaded:
        started = time.monotonic()
        try:
            home = self._cache.fetch(version, lambda path: self._registry.download(version, path))
            described = packages.read(home / "package")
            if described.signature is None:
                raise VersionRefused("MLmodel has no signature, so inputs cannot be checked")
            folder = planned(home)
            plan = Plan.read(folder)
            predictor, about = _predictor(plan, home / "package", folder)
            loaded = _loaded(version, described, plan, predictor, about, self._spec(described))
        except (FilesRefused, PackageInvalid, PlanInvalid, CompilerRefused) as error:
            raise VersionRefused(str(error)) from None
        fields = {"model_version": version.name, "predictor": about, "ms": round((time.monotonic() - started) * 1000)}
        log.info("model loaded", extra=fields)
        return loaded

    def _spec(self, described: Package) -> FeatureSpec | None:
        spec = described.feature_spec
        if spec is None or spec.keys:
            return spec
        try:
            return self._features.spec(spec.name)
        except FivefoldError as error:
            if error.code in _MAY_HELP_TO_WAIT:
                raise
            raise VersionRefused(f"its feature spec cannot be read: {error.message}") from None


def _predictor(plan: Plan, package: Path, folder: Path) -> tuple[Predictor, str]:
    """Returns the compiled predictor where it answers as the native one does, else the native one, and which and why."""
    rows, answers = check.read((folder / check.FILE).read_bytes())
    why = plan.why_not
    if plan.root is not None:
        try:
            compiled = Compiled(plan, folder)
            why = _difference(compiled, rows, answers)
            if not why:
                _warm(compiled, rows, len(answers))
                return compiled, f"compiled {plan.about}"
        except (KernelError, PlanInvalid, ValueRefused) as error:
            why = str(error)
        log.warning("compiled model is not used", extra={"why": why})
    try:
        worker = Worker(package)
        if problem := _difference(worker, rows, answers):
            raise VersionRefused(f"the model answers differently in a second process: {problem}")
    except (OSError, WorkerLost, ValueRefused):
        raise VersionRefused("the process of the model ended while it warmed up") from None
    return worker, f"native {plan.about} ({why})"


def _difference(predictor: Predictor, rows: dict[str, Values], answers: Answers) -> str:
    """Returns how far a predictor is from the native answers, "" when it is near enough; row by row and all at once."""
    count = len(answers)
    if not count:
        return "there is no row to compare with"
    scale = max(1.0, float(np.max(np.abs(answers))))
    found = [predictor(rows, count)]
    for row in range(min(count, 8)):
        one = {name: values[row : row + 1] for name, values in rows.items()}
        found.append(predictor(one, 1))
    for got, wanted in zip(found, [answers, *(answers[row : row + 1] for row in range(8))], strict=False):
        if got.shape != wanted.shape:
            return f"it answers {got.shape[1]} columns, not {wanted.shape[1]}"
        far = np.abs(got - wanted) / scale
        if not (far <= TOLERANCE).all():
            return f"it differs from the native answers by {np.max(far):.2g}"
    return ""


def _warm(predictor: Predictor, rows: dict[str, Values], count: int) -> None:
    for size in WARM_ROWS:
        places = [row % count for row in range(size)]
        taken = {n: v[places] if isinstance(v, np.ndarray) else [v[place] for place in places] for n, v in rows.items()}
        predictor(taken, size)


def _loaded(
    version: Version, described: Package, plan: Plan, predictor: Predictor, about: str, spec: FeatureSpec | None
) -> Loaded:
    signature = described.signature
    assert signature is not None
    outputs, positive = _outputs(described, plan)
    required = {column.name for column in signature.inputs if column.required}
    return Loaded(
        version=version,
        signature=signature,
        outputs=outputs,
        classes=plan.classes,
        positive=positive,
        not_null=frozenset(required | set(plan.not_null)),
        feature_spec=spec,
        platform=about.split(" (")[0],
        about=about,
        predictor=predictor,
    )


def _outputs(described: Package, plan: Plan) -> tuple[tuple[Column, ...], int]:
    """Returns the columns that are answered and the place of the positive class."""
    if plan.task == "regression":
        return (Column("prediction", "double", True),), 0
    first = plan.classes[0]
    kind = "bool" if isinstance(first, bool) else "int64" if isinstance(first, int) else "double"
    label = Column("label", "string" if isinstance(first, str) else kind, True)
    if len(plan.classes) > 2:
        return (label, *(Column(f"probability_{one}", "double", True) for one in plan.classes)), 0
    positive = plan.classes[1] if described.positive is None else described.positive
    if positive not in plan.classes:
        raise PackageInvalid(f"the positive class {positive!r} is none of the model's classes")
    return (label, Column("probability", "double", True)), plan.classes.index(positive)
