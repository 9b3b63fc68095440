"""The one error of audio_utils. The command line and the studio catch it and show its sentence."""


class AudioError(Exception):
    """Audio, a setting or a file cannot be used as asked.

    The message is one sentence for the person: what was expected, what was found, what to do.
    """
