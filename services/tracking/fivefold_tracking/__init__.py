"""Fivefold's tracking service: experiments, runs, metrics, artifacts."""
