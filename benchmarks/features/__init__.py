"""Benchmarks of the features service."""
