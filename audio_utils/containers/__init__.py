"""Checks from the bytes of a file that its container is complete, one module for each kind."""
