"""The only error class of audio_utils. The command line and the studio catch it and print it."""


class AudioError(Exception):
    """A waveform, a setting or a file cannot be used.

    The message is one sentence for the user: what was expected, what was found, what to do.
    """
