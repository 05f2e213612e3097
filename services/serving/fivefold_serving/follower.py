"""Follows the registry: what is in Production there is live here.

With every connection everything is derived from the registry; after that its events say which models to look at again.
What is asked of a model is always its present state, so an event that comes twice, late or out of turn does no harm, nor
does a registry that was restored from an older backup. While the registry does not answer, what is live stays; a server
that starts then begins with what it served last.

One thread watches, a few settle models, each model by one at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

import grpc

from fivefold_runtime.clock import Clock
from fivefold_runtime.errors import FivefoldError
from fivefold_serving import served
from fivefold_serving.cache import Cache
from fivefold_serving.clients import Registry, Watch
from fivefold_serving.errors import ModelNotServed, ModelRefused
from fivefold_serving.loader import Loader, VersionRefused
from fivefold_serving.queueing import KeyedQueue
from fivefold_serving.served import Entry, Loaded, Table
from fivefold_serving.versions import Version

log = logging.getLogger(__name__)

_THREADS = 2
_RETRY_SECONDS = 0.5  # between two attempts to reach the registry, and at first to settle a model
_LONGEST_RETRY_SECONDS = 30.0  # between two attempts to settle a model, when it failed again and again
_PATIENT_FAILURES = 6  # attempts to settle a model, after which a server is ready without it
_ALONE_SECONDS = 3.0  # after the start: the registry counts as away, and what was live last is loaded


class Follower:
    """Background work of the service. Changes the table; calls only read it."""

    def __init__(self, table: Table, registry: Registry, loader: Loader, cache: Cache, clock: Clock) -> None:
        self._table = table
        self._registry = registry
        self._loader = loader
        self._cache = cache
        self._clock = clock
        self._queue = KeyedQueue()
        self._failures: dict[str, int] = {}  # attempts in a row that did not settle a model
        self._unloaded: dict[str, int] = {}  # models taken out by hand, with the version that was live
        self._first: set[str] | None = None  # models of the first listing that are not settled yet
        self._stop = threading.Event()
        self._watch: Watch | None = None
        self._threads: list[threading.Thread] = []
        self.connected = False

    def start(self) -> None:
        work = [self._follow, *[self._settle_all] * _THREADS]
        self._threads = [threading.Thread(target=one, name=one.__name__.strip("_"), daemon=True) for one in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._queue.close()
        if self._watch is not None:
            self._watch.cancel()
        for thread in self._threads:
            thread.join(timeout=5)
        for entry in self._table.entries.values():
            for loaded in (entry.live, entry.standby):
                if loaded is not None:
                    loaded.predictor.close()

    def ready(self) -> str:
        """Returns "" once everything that was in Production at the start has been looked at, else why not."""
        if self._first is None:
            return "the registry has not answered yet"
        return f"{len(self._first)} models are being loaded" if self._first else ""

    def load(self, model: str) -> None:
        """Settles a model now, also one that was refused or unloaded. Raises ModelNotServed, ModelRefused,
        Unavailable.
        """
        with self._queue.holding(model):
            self._unloaded.pop(model, None)
            self._table.change(model, lambda entry: replace(entry, refused={}))
            self._settle(model)
        entry = self._table.entries.get(model, Entry())
        for number, why in entry.refused.items():
            name = f"models/{model}/versions/{number}"
            raise ModelRefused(f"{name} cannot be served: {why}", model_version=name, why=why)
        if entry.live is None:
            raise ModelNotServed(f"models/{model} has no version in Production", model=f"models/{model}")

    def unload(self, model: str) -> None:
        """Takes a model out until it is loaded or promoted again. Raises ModelNotServed."""
        with self._queue.holding(model):
            entry = self._table.entries.get(model, Entry())
            if entry.live is None:
                raise ModelNotServed(f"models/{model} is not loaded", model=f"models/{model}")
            self._unloaded[model] = entry.live.version.number
            self._table.change(model, lambda _: None)

    def _follow(self) -> None:
        started = time.monotonic()
        while not self._stop.is_set():
            try:
                self._watch = self._registry.watch()
                for changed in self._watch:
                    if not self.connected:
                        self._look_at_all(self._registry.models())
                        self.connected = True
                    self._queue.add(sorted(changed))
            except FivefoldError as error:
                if self.connected and not self._stop.is_set():
                    log.warning("registry lost", extra={"why": error.message})
            except Exception:
                log.exception("following the registry failed")
            self.connected = False
            if self._first != set() and time.monotonic() - started > _ALONE_SECONDS:
                self._begin_alone()
            self._stop.wait(_RETRY_SECONDS)

    def _look_at_all(self, models: list[str]) -> None:
        """Looks at every model of the registry, and at those here that it may have lost."""
        if self._first is None:
            self._first = set(models)
        self._queue.add({*models, *self._table.entries})

    def _begin_alone(self) -> None:
        """Loads what was live when this server last ran, from the cache, and is content with it."""
        remembered = self._cache.remembered()
        for version in remembered:
            if self._first is None or version.model in self._first:
                self._load_remembered(version)
        if remembered:
            self._first = set()

    def _load_remembered(self, version: Version) -> None:
        with self._queue.holding(version.model):
            if self._table.entries.get(version.model, Entry()).live is not None:
                return
            try:
                loaded = self._loader.load(version)
            except Exception as error:  # Whatever is wrong with one version must not keep the others away.
                log.warning("model not loaded", extra={"model_version": version.name, "why": str(error)})
                return
            self._table.change(version.model, served.live(loaded, self._clock.now()))

    def _settle_all(self) -> None:
        while (model := self._queue.take()) is not None:
            try:
                self._settle(model)
            except (FivefoldError, OSError) as error:
                failures = self._failures[model] = self._failures.get(model, 0) + 1
                delay = min(_RETRY_SECONDS * 2 ** min(failures - 1, 10), _LONGEST_RETRY_SECONDS)
                log.warning(
                    "model not settled, trying again", extra={"model": model, "why": str(error), "seconds": delay}
                )
                self._queue.add([model], delay=delay)
                if failures >= _PATIENT_FAILURES and self.connected:
                    self._looked_at(model)  # One model that does not load must not keep a server with others unready.
            except Exception:
                log.exception("settling a model failed", extra={"model": model})
                self._looked_at(model)
            finally:
                self._queue.done(model)

    def _looked_at(self, model: str) -> None:
        if self._first:
            self._first.discard(model)

    def _settle(self, model: str) -> None:
        """Brings one model to what the registry says now. The caller holds its key."""
        versions = self._registry.production(model)
        if versions is None:
            self._unloaded.pop(model, None)
            self._table.change(model, lambda _: None)
        elif not versions:
            self._unloaded.pop(model, None)
            self._table.change(model, served.demoted)
        elif self._unloaded.get(model) != versions[0].number:
            self._unloaded.pop(model, None)
            numbers = {version.number for version in versions}
            self._table.change(model, served.known(numbers))
            chosen = self._chosen(model, versions) or self._before(model, versions)
            if chosen is not None:
                self._table.change(model, served.live(chosen, self._clock.now()))
        self._failures.pop(model, None)
        self._looked_at(model)
        self._keep()

    def _chosen(self, model: str, versions: list[Version]) -> Loaded | None:
        """Returns the highest version that can be served; None: what is live stays."""
        for version in versions:
            entry = self._table.entries.get(model, Entry())
            kept = entry.loaded(version.number)
            if kept is not None and kept.version.digest == version.digest:
                return kept
            if version.number in entry.refused:
                continue
            loaded = self._loaded(version)
            if loaded is not None:
                still = self._registry.production(model) or []
                return loaded if version.number in {one.number for one in still} else None
        return None

    def _before(self, model: str, versions: list[Version]) -> Loaded | None:
        """Returns what was live before a restart, where all that is in Production is refused and nothing answers."""
        entry = self._table.entries.get(model, Entry())
        if entry.live is not None or not entry.refused.keys() >= {version.number for version in versions}:
            return None
        before = next((version for version in self._cache.remembered() if version.model == model), None)
        try:
            return None if before is None else self._loaded(before)
        except FivefoldError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return None  # It was deleted meanwhile.
            raise

    def _loaded(self, version: Version) -> Loaded | None:
        """Loads one version; None when it is refused. Raises what makes another try worth while."""
        self._table.change(version.model, served.loading(version.number))
        try:
            return self._loader.load(self._registry.version(version.model, version.number))
        except VersionRefused as error:
            log.warning("model refused", extra={"model_version": version.name, "why": str(error)})
            self._table.change(version.model, served.refused(version.number, str(error)))
            return None
        except (FivefoldError, OSError):
            raise
        except Exception:
            log.exception("loading failed", extra={"model_version": version.name})
            why = "it could not be loaded; the server's log says why"
            self._table.change(version.model, served.refused(version.number, why))
            return None
        finally:
            self._table.change(version.model, served.arrived(version.number))

    def _keep(self) -> None:
        """Writes down what is live, once all that was to be looked at first has been, and makes room in the cache."""
        entries = self._table.entries.values()
        if not self._first:
            self._cache.remember(entry.live.version for entry in entries if entry.live is not None)
        both = (loaded for entry in entries for loaded in (entry.live, entry.standby))
        self._cache.trim({loaded.version.digest for loaded in both if loaded is not None})
