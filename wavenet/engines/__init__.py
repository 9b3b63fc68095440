"""Engines: run a model sample by sample; `reference` defines the results, most are faster."""
