"""MLflow plugin: tracking, registry and artifacts of Fivefold behind MLflow's own API."""
