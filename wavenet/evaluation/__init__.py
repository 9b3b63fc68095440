"""Evaluation of models on whole sets of recordings, in comparison with baselines."""
