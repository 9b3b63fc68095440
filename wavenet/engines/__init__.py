"""Engines: the same numbers as the model's definition, sooner."""
