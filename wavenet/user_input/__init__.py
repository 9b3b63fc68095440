"""Names, numbers, paths and tables that a user writes."""
