"""Fivefold's registry service: models, versions, stages, approvals."""
