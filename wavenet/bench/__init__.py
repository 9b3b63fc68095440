"""How fast the engines are here, beside what this machine could do at most."""
