"""The comparison of all architectures: equal budgets, the same recordings, the same measures."""
