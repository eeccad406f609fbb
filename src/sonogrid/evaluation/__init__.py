"""Predictions to metrics, intervals and tests."""
