"""Generation: condition values, a seed and optionally a prompt -> audio, streamed or complete."""
