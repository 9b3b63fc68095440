"""How good what a model makes is, beside a baseline: measures of whole sets of recordings."""
