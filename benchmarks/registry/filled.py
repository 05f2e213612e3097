"""A thousand models with twenty versions each, the same in our registry and in MLflow's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import MetaData, create_engine, insert

from benchmarks.registry.sides import SOURCE, model_of

MODELS, VERSIONS = 1_000, 20
STAGE_OF = {
    VERSIONS: "Staging",
    VERSIONS - 1: "Production",
    VERSIONS - 2: "Archived",
}  # by version; the others have none
_BEGIN = 1_760_000_000_000  # milliseconds


def fill(client: Any) -> None:
    """Fills ours through the SDK."""

    def one(number: int) -> None:
        name = model_of(number)
        client.create_model(name)
        for version in range(1, VERSIONS + 1):
            made = client.create_version(name, external_uri=SOURCE)
            if version in STAGE_OF:
                client.transition(made.name, STAGE_OF[version])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(MODELS)))


def fill_peer(url: str) -> None:
    """Fills MLflow's database by direct inserts. The server must not be writing."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    metadata = MetaData()
    metadata.reflect(engine, only=["registered_models", "model_versions"])
    with engine.begin() as tx:
        tx.execute(
            insert(metadata.tables["registered_models"]),
            [
                {"name": model_of(number), "creation_time": _BEGIN, "last_updated_time": _BEGIN, "workspace": "default"}
                for number in range(MODELS)
            ],
        )
        tx.execute(
            insert(metadata.tables["model_versions"]),
            [
                {
                    "name": model_of(number),
                    "version": version,
                    "creation_time": _BEGIN + version,
                    "last_updated_time": _BEGIN + version,
                    "current_stage": STAGE_OF.get(version, "None"),
                    "source": SOURCE,
                    "status": "READY",
                    "workspace": "default",
                }
                for number in range(MODELS)
                for version in range(1, VERSIONS + 1)
            ],
        )
    engine.dispose()
