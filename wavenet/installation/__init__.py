"""The installation on this machine, and what is wrong with it. Changes nothing."""
