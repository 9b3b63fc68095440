"""Checks that the container of an audio file is complete: one module per kind."""
