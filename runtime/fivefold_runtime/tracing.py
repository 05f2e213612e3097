"""The W3C trace context of a call: into its log line, and into OpenTelemetry's context where that is installed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_INSTALLED = importlib.util.find_spec("opentelemetry") is not None


def follow(metadata: Mapping[str, str | bytes]) -> tuple[str, dict[str, object]]:
    """Returns the caller's traceparent and the log fields {"trace": 32 hex, "span": 16 hex}; ("", {}) without a good
    one.

    With OpenTelemetry installed the running context continues that trace; spans are exported by whatever its SDK is
    set to.
    """
    found = _TRACEPARENT.fullmatch(str(metadata.get("traceparent", "")))
    if found is None:
        return "", {}
    if _INSTALLED:
        from opentelemetry import context, propagate

        context.attach(propagate.extract({k: v for k, v in metadata.items() if isinstance(v, str)}))
    return found.group(), {"trace": found.group(1), "span": found.group(2)}
