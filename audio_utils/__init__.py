"""Audio signals: files, features, metrics and plots. Independent of `wavenet`, never imports it."""
