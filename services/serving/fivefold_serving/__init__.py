"""Fivefold's serving service: predictions over the Open Inference Protocol."""
