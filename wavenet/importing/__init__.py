"""Other people's models -> checkpoints of this project, the same numbers in our layout."""
