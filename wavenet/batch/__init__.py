"""Generation of many clips from a manifest, by several workers; resumable after a stop."""
