"""WaveNet Studio: train, run, inspect and check autoregressive models of raw audio."""

__version__ = "0.1.0"
