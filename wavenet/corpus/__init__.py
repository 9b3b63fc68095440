"""Recordings prepared in one format on disk, which training reads without loading them all."""
