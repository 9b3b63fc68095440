"""Benchmarks: speed of the engines on this machine, compared with the limits of the machine."""
