"""Audio signals: files, features, metrics and plots. Knows no model; never imports wavenet."""
