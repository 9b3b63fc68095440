"""From text to speech: text to phones, phones to mel frames, mel frames to sound."""
