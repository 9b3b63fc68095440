"""Lossless compression of recordings by a network and a range coder."""
