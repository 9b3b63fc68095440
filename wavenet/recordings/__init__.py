"""Recordings of a folder: which files are used, and their fields from names and tables."""
