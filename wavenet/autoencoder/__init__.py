"""Discrete codes of speech: an autoencoder of mel frames with a quantised bottleneck.

A recording becomes 50 to 200 codes per second, and codes become mel frames, from which a vocoder
generates the sound. An autoregressive model of the codes, trained like any other, is then a prior:
it generates speech from a sequence that is 80 times shorter than the samples.
"""
