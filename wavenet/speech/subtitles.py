"""Subtitles of spoken sentences: SubRip (.srt) and WebVTT (.vtt).

Input: sentences with their times. Output: lines of a file, one cue per sentence. Called by `wavenet
speak`.

Source: W3C "WebVTT: The Web Video Text Tracks Format", section 4.
"""

SUFFIXES = (".srt", ".vtt")


def subtitle_header(suffix: str) -> str:
    """Return the beginning of a file of subtitles."""
    return "WEBVTT\n\n" if suffix == ".vtt" else ""


def format_cue(suffix: str, number: int, start: float, end: float, text: str) -> str:
    """Return one cue.

    Args:
        suffix: one of `SUFFIXES`.
        number: counted from 1.
        start, end: seconds.
        text: line breaks become spaces, and an arrow, which would be read as times, is changed.
    """
    shown = " ".join(text.split()).replace("-->", "->")
    if suffix == ".vtt":
        shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    times = f"{format_time(start, suffix)} --> {format_time(end, suffix)}"
    return f"{number}\n{times}\n{shown}\n\n"


def format_time(seconds: float, suffix: str) -> str:
    """Return a time such as 00:01:02,345 (.srt) or 00:01:02.345 (.vtt)."""
    milliseconds = max(0, round(1000 * seconds))
    mark = "." if suffix == ".vtt" else ","
    rest, milliseconds = divmod(milliseconds, 1000)
    minutes, whole = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{mark}{milliseconds:03}"
