"""Share checkpoints: the Hugging Face Hub, zip archives, model cards, safe installation."""
