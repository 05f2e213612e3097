"""The block of autologging, and what it records of one model."""

from __future__ import annotations

import json
import logging
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from fivefold.sdk.tracking.autolog.patches import Patches

if TYPE_CHECKING:
    from fivefold.sdk.tracking.activerun import ActiveRun

log = logging.getLogger("fivefold.tracking")

_LONGEST_PARAM = 500  # characters of a value; what is longer is cut
_MOST_PARAMS = 500
_FORBIDDEN = re.compile(r"[^/\w.\- :]")


class Autolog:
    """A block within which training is recorded to `run`.

    models        stores the package of each model
    importances   stores feature importances
    score         scores each scikit-learn model on its training data, which takes a prediction of all of it
    """

    def __init__(self, run: ActiveRun, *, models: bool = True, importances: bool = True, score: bool = True) -> None:
        self.run = run
        self.models = models
        self.importances = importances
        self.score = score
        self._patches = Patches()
        self._taken = False
        self._under_way = 0
        self._lock = threading.Lock()
        self._local = threading.local()

    def __enter__(self) -> Self:
        from fivefold.sdk.tracking.autolog import boosting, sklearn

        for library, install in (
            ("sklearn", sklearn.install),
            ("xgboost", boosting.install_xgboost),
            ("lightgbm", boosting.install_lightgbm),
        ):
            if library in sys.modules:
                with guarded(f"autologging of {library}"):
                    install(self, self._patches)
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.take_back()

    @property
    def recording(self) -> Recording | None:
        """What this thread is training just now, if it is being recorded."""
        found: Recording | None = getattr(self._local, "recording", None)
        return found

    @property
    def is_part(self) -> bool:
        """Whether what this thread is to train is part of what is being recorded: further in, or by joblib's threads."""
        return self.recording is not None or (self._under_way > 0 and _called_by("joblib"))

    @contextmanager
    def training(self, name: str) -> Iterator[Recording]:
        """Records a training of this thread within the block: to the run if it is the first, else to a nested one."""
        with self._lock:
            first, self._taken = not self._taken, True
            self._under_way += 1
        recording = Recording(self.run if first else None, self, name)
        self._local.recording = recording
        try:
            yield recording
        except BaseException as error:
            recording.end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        else:
            recording.end("FINISHED")
        finally:
            self._local.recording = None
            with self._lock:
                self._under_way -= 1


class Recording:
    """One model's training. Its methods never raise."""

    def __init__(self, run: ActiveRun | None, autolog: Autolog, name: str) -> None:
        self.autolog = autolog
        self._run = run
        self._own = run is None
        if run is None:
            with guarded("a nested run"):
                self._run = autolog.run.child(name)

    def params(self, params: Mapping[str, Any]) -> None:
        """Logs hyperparameters."""
        kept = {key_of(key): text_of(value) for key, value in list(params.items())[:_MOST_PARAMS]}
        self._guarded("params", lambda run: run.log(params=kept))

    def tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        self._guarded("tags", lambda run: run.log(tags=tags))

    def metrics(self, metrics: Mapping[str, Any], step: int = 0) -> None:
        """Logs metrics; what is no number is left out."""
        kept = {key_of(key): float(value) for key, value in metrics.items() if _is_number(value)}
        self._guarded("metrics", lambda run: run.log(metrics=kept, step=step))

    def importances(self, importances: Callable[[], Mapping[str, float]]) -> None:
        """Stores feature importances, the greatest first."""
        if self.autolog.importances:
            self._guarded("feature importances", lambda run: _store(run, "feature_importances.json", importances()))

    def model(self, model: Any, example: Any, outputs: Any = None) -> None:
        """Stores the model's package."""
        if self.autolog.models:
            self._guarded("the model's package", lambda run: run.log_model(model, example=example, outputs=outputs))

    def end(self, status: str) -> None:
        """Ends a nested run; the outer one ends with its own block."""
        if self._own:
            self._guarded("the end of a nested run", lambda run: run.end(status))

    def _guarded(self, what: str, record: Callable[[ActiveRun], object]) -> None:
        if self._run is not None:
            with guarded(what):
                record(self._run)


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turns an error of recording into a warning, since training must go on."""
    try:
        yield
    except Exception as error:
        message = getattr(error, "message", str(error)).splitlines() or [""]
        log.warning("%s could not be recorded: %s: %s", what, type(error).__name__, message[0][:500])


def _called_by(library: str) -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == library:
            return True
        frame = frame.f_back
    return False


def key_of(text: str) -> str:
    """Returns a library's name of a param or metric as a key that is allowed: "ndcg@5" becomes "ndcg_at_5"."""
    cleaned = _FORBIDDEN.sub("_", text.replace("@", "_at_"))
    return "/".join(part for part in cleaned.split("/") if part.strip(".")) or "_"


def text_of(value: Any) -> str:
    """Returns a param's value as a text of bounded length; of an estimator, its class."""
    text = f"{type(value).__name__}()" if hasattr(value, "get_params") and not isinstance(value, type) else str(value)
    return text if len(text) <= _LONGEST_PARAM else f"{text[: _LONGEST_PARAM - 1]}…"


def ranked(names: Any, values: Any) -> dict[str, float]:
    """Returns importances by feature, the greatest first."""
    pairs = ((str(name), float(value)) for name, value in zip(names, values, strict=True))
    return dict(sorted(pairs, key=lambda pair: -abs(pair[1])))


def _store(run: ActiveRun, name: str, content: Mapping[str, float]) -> None:
    if not content:
        return
    with tempfile.TemporaryDirectory(prefix="fivefold-") as scratch:
        file = Path(scratch) / name
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        run.upload(file, name)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
