"""Tests of effects; the models are random, and `numpy_effects` computes them a second time."""
