"""What runs log: metrics, params, tags, datasets and models that they used or made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mlflow.entities import (
    DatasetInput,
    LifecycleStage,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS, MLFLOW_RUN_NAME
from mlflow.utils.validation import (
    MAX_TAG_VAL_LENGTH,
    _validate_batch_log_limits,
    _validate_dataset_inputs,
    _validate_metric,
    _validate_param,
    _validate_param_keys_unique,
    _validate_run_id,
    _validate_tag,
    exceeds_maximum_length,
    missing_value,
)

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_mlflow.base import about_run, inactive_run, run_name
from fivefold_mlflow.entities import texts
from fivefold_mlflow.failures import Failure, invalid, not_found
from fivefold_mlflow.runs import Runs

_MOST = 100  # datasets and models of one call
_MOST_KEYS = 10_000  # checked ones that are remembered

_checked: set[str] = set()  # metrics' keys that MLflow allows


class Batches(Runs):
    """Every method is one RPC, and one transaction, unless it says otherwise."""

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        """Logs all or nothing. A new name of the run takes a second call, after the first."""
        _validate_run_id(run_id)
        request = pb.LogBatchRequest(run=f"runs/{run_id}", allow_ended=True)
        _add(request, metrics, "metrics[{}]")
        params = [_checked_param(each, f"params[{i}]") for i, each in enumerate(params)]
        tags = [_validate_tag(each.key, each.value, path=f"tags[{i}]") for i, each in enumerate(tags)]
        _validate_batch_log_limits(metrics, params, tags)
        _validate_param_keys_unique(params)
        request.params.update(texts(params))
        request.tags.update(texts(tags))
        name = request.tags.pop(MLFLOW_RUN_NAME, None)
        try:
            self._log(run_id, request)
        except Failure as error:
            if error.reason == "PARAM_CHANGED":
                key, old, new = (error.facts.get(fact, "") for fact in ("key", "stored", "given"))
                changed = [{"key": key, "old_value": old, "new_value": new}]
                raise error.saying(
                    "Changing param values is not allowed. Params were already"
                    f" logged='{changed}' for run ID='{run_id}'."
                ) from error
            raise
        if name:
            self.update_run_info(run_id, None, None, name)

    def log_metric(self, run_id: str, metric: Metric) -> None:
        request = pb.LogBatchRequest(run=f"runs/{run_id}", allow_ended=True)
        _add(request, [metric], "")
        self._log(run_id, request)

    def log_param(self, run_id: str, param: Param) -> None:
        param = _checked_param(param, "")
        try:
            self._log(run_id, pb.LogBatchRequest(run=f"runs/{run_id}", params=texts([param])))
        except Failure as error:
            if error.reason == "PARAM_CHANGED":
                raise error.saying(
                    f"Changing param values is not allowed. Param with key='{param.key}' was already"
                    f" logged with value='{error.facts.get('stored', '')}' for run ID='{run_id}'."
                    f" Attempted logging new value '{param.value}'."
                ) from error
            raise

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        tag = _validate_tag(tag.key, tag.value)
        if tag.key == MLFLOW_RUN_NAME and tag.value:
            self.update_run_info(run_id, None, None, tag.value)
        else:
            self._log(run_id, pb.LogBatchRequest(run=f"runs/{run_id}", tags=texts([tag])))

    def delete_tag(self, run_id: str, key: str) -> None:
        """Reads the run first, since MLflow refuses to delete a tag that is not there."""
        run = self.get_run(run_id)
        if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
            raise inactive_run(run_id)
        if key not in run.data.tags:
            raise not_found(f"No tag with name: {key} in run with id {run_id}")
        self._update_run(run_id, pb.Run(name=run_name(run_id)), [f"tags.{key}"])

    def log_inputs(
        self,
        run_id: str,
        datasets: list[DatasetInput] | None = None,
        models: list[LoggedModelInput] | None = None,
    ) -> None:
        """Records datasets and models that a run used; one call for each hundred."""
        _validate_run_id(run_id)
        if datasets is not None:
            if not isinstance(datasets, list):
                raise TypeError(f"Argument 'datasets' should be a list, got '{type(datasets)}'")
            _validate_dataset_inputs(datasets)
        used = [_dataset(each) for each in datasets or ()]
        names = [f"logged_models/{each.model_id}" for each in models or ()]
        with about_run(run_id):
            name = run_name(run_id)
            for start in range(0, max(len(used), len(names), 1), _MOST):
                part = slice(start, start + _MOST)
                request = pb.LogInputsRequest(run=name, inputs=used[part], models=names[part])
                self._tracking.change("LogInputs", request)

    def log_outputs(self, run_id: str, models: list[LoggedModelOutput]) -> None:
        """Records models that a run made; one call for each hundred."""
        made = [pb.ModelOutput(logged_model=f"logged_models/{each.model_id}", step=each.step) for each in models]
        with about_run(run_id):
            name = run_name(run_id)
            for start in range(0, len(made), _MOST):
                request = pb.LogOutputsRequest(run=name, outputs=made[start : start + _MOST])
                self._tracking.change("LogOutputs", request)

    def record_logged_model(self, run_id: str, mlflow_model: Any) -> None:
        """Adds a model to the tag in which MLflow before 3 keeps what a run logged."""
        from mlflow.models import Model

        if not isinstance(mlflow_model, Model):
            raise TypeError(f"Argument 'mlflow_model' should be mlflow.models.Model, got '{type(mlflow_model)}'")
        before = json.loads(self.get_run(run_id).data.tags.get(MLFLOW_LOGGED_MODELS, "[]"))
        value = json.dumps([*before, mlflow_model.get_tags_dict()])
        if len(value) > MAX_TAG_VAL_LENGTH:
            raise invalid(exceeds_maximum_length(MLFLOW_LOGGED_MODELS, MAX_TAG_VAL_LENGTH))
        self.set_tag(run_id, RunTag(MLFLOW_LOGGED_MODELS, value))

    def _log(self, run_id: str, request: pb.LogBatchRequest) -> None:
        with about_run(run_id):
            run_name(run_id)
            self._tracking.change("LogBatch", request)


def _add(request: pb.LogBatchRequest, metrics: Iterable[Metric], path: str) -> None:
    """Adds points. Raises MlflowException as MLflow does; `path` is what it calls a metric, with its place."""
    add, checked = request.metrics.add, _checked
    for place, metric in enumerate(metrics):
        key, value, time, step = metric.key, metric.value, metric.timestamp, metric.step
        if key not in checked or type(value) is not float or type(time) is not int or time < 0 or type(step) is not int:
            _validate_metric(key, value, time, step, path=path.format(place))
            if len(checked) >= _MOST_KEYS:
                checked.clear()
            checked.add(key)
            value, time, step = float(value), int(time), int(step)
        point = add(key=key, value=value, step=step)
        seconds, rest = divmod(time, 1000)
        stamp = point.time
        stamp.seconds = seconds
        stamp.nanos = rest * 1_000_000
        if metric.model_id:
            point.logged_model = f"logged_models/{metric.model_id}"
        if metric.dataset_name:
            point.dataset = metric.dataset_name
            point.dataset_digest = metric.dataset_digest or ""


def _checked_param(param: Param, path: str) -> Param:
    if param.value is None:
        raise invalid(missing_value(f"{path}.value" if path else "value"))
    return _validate_param(param.key, param.value, path=path)


def _dataset(used: DatasetInput) -> pb.DatasetInput:
    dataset = used.dataset
    return pb.DatasetInput(
        dataset=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema or "",
        profile=dataset.profile or "",
        tags=texts(used.tags),
    )
