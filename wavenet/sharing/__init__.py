"""Share checkpoints: the Hugging Face Hub, zip archives, cards, safe installation."""
