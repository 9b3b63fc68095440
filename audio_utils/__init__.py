"""Signals: read and write audio, features, pictures. Knows no model; never imports wavenet."""
