"""Likelihood: how well a model predicts a recording."""
