"""Evaluates tree ensembles with LightGBM's C library, called through ctypes on its text model format.

`import lightgbm` brings scikit-learn, scipy and pandas along (about 150 MB); the library alone costs about 10. One
row goes through the single-row fast API while the GIL is held: it takes microseconds, less than giving the GIL away
and getting it back. Many rows go through the matrix API without the GIL. Both use one thread.

The library checks no index in a model or a matrix, so this module does: models by `treetext`, matrices by their width.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fivefold_serving import treetext

_FLOAT64 = 1  # C_API_DTYPE_FLOAT64
_RAW = 1  # C_API_PREDICT_RAW_SCORE
_ROW_MAJOR = 1
_ONE_THREAD = b"num_threads=1 verbosity=-1 predict_disable_shape_check=false"


L = TypeVar("L", bound=ctypes.CDLL)


class KernelError(Exception):
    """LightGBM's library is missing, or the model or the matrix is refused."""


class Trees:
    """One ensemble. Raw scores only: links are applied by the plan. Safe for use by many threads."""

    def __init__(self, text: str, features: int) -> None:
        """Loads a LightGBM text model over `features` features. Raises KernelError."""
        self._free = _gil_free()
        self._held = _gil_held()
        self.features = features
        self._handle = ctypes.c_void_p()
        self._fast = ctypes.c_void_p()
        iterations = ctypes.c_int()
        try:
            content = treetext.checked(text, features).encode()
        except treetext.TreesInvalid as error:
            raise KernelError(str(error)) from None
        self._check(
            self._free.LGBM_BoosterLoadModelFromString(content, ctypes.byref(iterations), ctypes.byref(self._handle))
        )
        scores = ctypes.c_int()
        self._check(self._free.LGBM_BoosterGetNumClasses(self._handle, ctypes.byref(scores)))
        self.scores = scores.value
        self._check(
            self._free.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, _RAW, 0, -1, _FLOAT64, features, _ONE_THREAD, ctypes.byref(self._fast)
            )
        )

    def __call__(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns raw scores [rows, scores] of a C-contiguous matrix [rows, features]. Raises KernelError."""
        rows, features = matrix.shape
        if features != self.features:
            raise KernelError(f"the matrix has {features} features, not {self.features}")
        answer = np.empty((rows, self.scores))
        written = ctypes.c_int64()
        if rows == 1:
            # The fast configuration owns one buffer, which the GIL guards.
            self._check(
                self._held.LGBM_BoosterPredictForMatSingleRowFast(
                    self._fast, matrix.ctypes.data, ctypes.byref(written), answer.ctypes.data
                )
            )
        elif rows:
            self._check(
                self._free.LGBM_BoosterPredictForMat(
                    self._handle, matrix.ctypes.data, _FLOAT64, rows, self.features, _ROW_MAJOR,
                    _RAW, 0, -1, _ONE_THREAD, ctypes.byref(written), answer.ctypes.data,
                )
            )  # fmt: skip
        return answer

    def __del__(self) -> None:
        if getattr(self, "_fast", None):
            self._free.LGBM_FastConfigFree(self._fast)
        if getattr(self, "_handle", None):
            self._free.LGBM_BoosterFree(self._handle)

    def _check(self, code: int) -> None:
        if code:
            raise KernelError(self._free.LGBM_GetLastError().decode("utf-8", "replace")[:200])


def library() -> Path:
    """Returns where LightGBM's library is, without importing the package. Raises KernelError."""
    spec = find_spec("lightgbm")
    if spec is not None and spec.origin is not None:
        for folder in ("lib", "bin", ""):
            found = Path(spec.origin).parent / folder / "lib_lightgbm.so"
            if found.is_file():
                return found
    raise KernelError("the library of LightGBM is not installed")


@cache
def _gil_free() -> ctypes.CDLL:
    return _declared(ctypes.CDLL(str(library())))


@cache
def _gil_held() -> ctypes.PyDLL:
    return _declared(ctypes.PyDLL(str(library())))


def _declared(loaded: L) -> L:
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    signatures = {
        "LGBM_BoosterLoadModelFromString": [text, pointer, pointer],
        "LGBM_BoosterGetNumClasses": [pointer, pointer],
        "LGBM_BoosterPredictForMatSingleRowFastInit": [pointer, *[integer] * 4, ctypes.c_int32, text, pointer],
        "LGBM_BoosterPredictForMatSingleRowFast": [pointer] * 4,
        "LGBM_BoosterPredictForMat": [
            pointer, pointer, integer, ctypes.c_int32, ctypes.c_int32, integer,
            integer, integer, integer, text, pointer, pointer,
        ],
        "LGBM_FastConfigFree": [pointer],
        "LGBM_BoosterFree": [pointer],
    }  # fmt: skip
    for name, arguments in signatures.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, integer
    loaded.LGBM_GetLastError.restype = text
    return loaded
