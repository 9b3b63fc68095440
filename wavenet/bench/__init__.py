"""Benchmarks: speed of the engines on this machine, compared with the ceilings of the machine."""
