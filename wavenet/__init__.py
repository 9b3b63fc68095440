"""WaveNet Studio: an autoregressive model of raw audio to run, hear, see and trust."""

__version__ = "0.1.0"
