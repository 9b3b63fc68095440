"""Generation: labels, a seed and perhaps a prompt -> audio, as it is made."""
