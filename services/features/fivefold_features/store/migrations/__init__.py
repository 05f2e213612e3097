"""Alembic revisions of this service, in order."""
