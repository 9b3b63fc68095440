"""From text to speech: so far, English text to phones."""
