"""The GPU engines."""
