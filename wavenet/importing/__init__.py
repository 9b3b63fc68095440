"""Import models of other programs as checkpoints of this project that compute the same numbers."""
