"""The definition of the network: clear before fast."""
