"""What the machine does while a run is at work: CPU, memory, disk and network, as metrics named like MLflow's.

    system/cpu_utilization_percentage
    system/system_memory_usage_megabytes, system/system_memory_usage_percentage
    system/process_memory_megabytes
    system/disk_usage_megabytes, system/disk_available_megabytes, system/disk_usage_percentage   of the working folder
    system/network_receive_megabytes, system/network_transmit_megabytes                          since the start

The step is the number of the sample.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from fivefold.sdk.extras import need

log = logging.getLogger("fivefold.tracking")

INTERVAL_SECONDS = 10.0
_MEGABYTE = 1e6


class SystemMetrics:
    """Samples every `interval` seconds, from `start` to `stop`; `take(metrics, step)` gets each sample.

    Raises MissingExtra, when it is made, where psutil is not installed.
    """

    def __init__(self, take: Callable[[Mapping[str, float], int], object], interval: float = INTERVAL_SECONDS) -> None:
        self._psutil: Any = need("psutil", "system_metrics")
        self._take = take
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="fivefold system metrics", daemon=True)

    def start(self) -> None:
        """Takes the first sample soon, the others at the interval."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no further sample; waits for one that is being taken."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _work(self) -> None:
        try:
            self._psutil.cpu_percent()  # The first call only says from when the next one counts.
            before = self._network()
            step = 0
            while not self._ended.wait(self._interval if step else min(self._interval, 1.0)):
                self._take(self._sample(before), step)
                step += 1
        except Exception:
            log.warning("system metrics end, because they cannot be read", exc_info=True)

    def _sample(self, before: tuple[int, int]) -> dict[str, float]:
        memory = self._psutil.virtual_memory()
        disk = self._psutil.disk_usage(os.getcwd())
        received, sent = self._network()
        return {
            "system/cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": (memory.total - memory.available) / _MEGABYTE,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_megabytes": self._psutil.Process().memory_info().rss / _MEGABYTE,
            "system/disk_usage_megabytes": disk.used / _MEGABYTE,
            "system/disk_available_megabytes": disk.free / _MEGABYTE,
            "system/disk_usage_percentage": disk.percent,
            "system/network_receive_megabytes": (received - before[0]) / _MEGABYTE,
            "system/network_transmit_megabytes": (sent - before[1]) / _MEGABYTE,
        }

    def _network(self) -> tuple[int, int]:
        counted = self._psutil.net_io_counters()
        return (counted.bytes_recv, counted.bytes_sent) if counted else (0, 0)
