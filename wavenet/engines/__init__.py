"""Engines: run a model sample by sample, with the results of its definition but faster."""
