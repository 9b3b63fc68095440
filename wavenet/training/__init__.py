"""Training: a folder of audio -> a checkpoint."""
