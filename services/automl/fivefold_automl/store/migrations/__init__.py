"""Alembic revisions of the automl store, oldest first."""
