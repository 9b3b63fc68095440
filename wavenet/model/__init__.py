"""The definitions of all architectures, written for clarity; engines are the fast versions."""
