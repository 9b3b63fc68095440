"""Recordings in one format on disk, which training reads one by one."""
