"""Fivefold's feature service: tables, training sets, online values."""
