"""Names, numbers and paths that a user writes."""
