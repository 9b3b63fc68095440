"""Checkpoints that come from elsewhere or go there: the Hub, zip archives, their cards."""
