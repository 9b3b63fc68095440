"""A link that repeats a spoken text: written from a job, and read into settings of the page.

    ?checkpoint=NAME&seed=3&text=Hello.&speed=1.2&say.gif=JH+IH1+F&curves.0=12_182.35-5_170

`say.WORD` is a corrected pronunciation. `curves.N` has the frames and the F0 (Hz) of each phone and
pause of sentence N, if they were changed. Any text may be read; unusable parts are reported. Called
by `share_settings`, `page_load` and `speech_events`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from wavenet.checkpoint_folders import is_voice
from wavenet.config import make_config
from wavenet.errors import ConditionError, ConfigError, WaveNetError
from wavenet.ui.checkpoint_library import find_folder
from wavenet.ui.speak.speech_job import (
    MAX_CHARACTERS,
    STYLE_RANGES,
    SentenceChange,
    SpeechJob,
    SpeechSettings,
    load_acoustic,
    make_speech_job,
)
from wavenet.ui.speak.speech_message import speech_message
from wavenet.user_input.close_names import find_equal_name
from wavenet.user_input.typed_numbers import parse_number

SAY = "say."  # begins the names of words
CURVES = "curves."  # begins the names of sentences
NAMES = ("text", "speaker", *STYLE_RANGES)
FIELDS = ("pronunciations", "changes")  # settings that only the view of the text shows
_PAIR = r"\d{1,5}_\d{1,5}(\.\d{1,2})?"
_PAIRS = re.compile(f"{_PAIR}(-{_PAIR})*", re.ASCII)
Values = dict[str, Any]


def format_speech_link(job: SpeechJob, limit: int) -> tuple[str, str]:
    """Return the query of a link, and a sentence about what it leaves out.

    Args:
        job: the spoken text.
        limit: the largest length of the query, characters.
    Returns:
        "" and the reason if the text is too long; the query and "" if nothing is left out.
    """
    chosen, default = job.settings, SpeechSettings(text="")
    query: Values = {"checkpoint": job.name, "seed": chosen.seed, "text": chosen.text}
    for name in ("speaker", *STYLE_RANGES, "temperature"):
        if (value := getattr(chosen, name)) != getattr(default, name):
            query[name] = value
    words = {SAY + word: phones for word, phones in chosen.pronunciations.items()}
    curves = {CURVES + str(c.sentence): _format_curves(c) for c in chosen.changes}
    parts: list[tuple[Values, str]] = [
        (words | curves, ""),
        (words, "the drawn melody and durations"),
        ({}, "the corrected pronunciations and the drawn melody and durations"),
    ]
    for others, left_out in parts:
        link = "?" + urlencode(query | others)
        if len(link) <= limit:
            note = f"The link leaves out {left_out}, with which it would be too long."
            return link, note if left_out else ""
    return "", "The text is too long for a link; use the command, or Again beside the clip."


def _format_curves(change: SentenceChange) -> str:
    pairs = zip(change.frames, change.f0, strict=False)
    return "-".join(f"{frames}_{round(f0, 2):g}" for frames, f0 in pairs)


def read_speech_part(values: Values, given: str, text: str) -> bool:
    """Add a part of a link to settings, if it is one of speech.

    Args:
        values: settings by name.
        given: name of the part.
        text: its value.
    Returns:
        Whether the part is one of speech.
    Raises:
        ConditionError: it cannot be used.
    """
    folded = given.casefold()
    name = find_equal_name(given, NAMES)
    if folded.startswith(SAY):
        word = given[len(SAY) :].strip().lower()
        values["pronunciations"] = {**values.get("pronunciations", {}), word: text}
    elif folded.startswith(CURVES):
        change = _read_curves(given[len(CURVES) :], text)
        values["changes"] = [*values.get("changes", []), change]
    elif name == "text":
        if len(text) > MAX_CHARACTERS:
            raise ConditionError(
                f"the text of the link has {len(text):,} characters, so it is not used; expected "
                f"at most {MAX_CHARACTERS:,}"
            )
        values[name] = text
    elif name == "speaker":
        values[name] = text
    elif name is not None:
        values[name] = _read_number(name, text)
    return name is not None or folded.startswith((SAY, CURVES))


def _read_number(name: str, text: str) -> float:
    number = parse_number(text[:40], name, float)
    low, high = STYLE_RANGES[name]
    if not low <= number <= high:  # also NaN
        raise ConditionError(
            f"the link: {name}: expected a number from {low:g} to {high:g}, found {text[:40]}"
        )
    return float(number)


def _read_curves(sentence: str, text: str) -> Values:
    if not re.fullmatch(r"\d{1,4}", sentence, re.ASCII) or not _PAIRS.fullmatch(text):
        raise ConditionError(
            f"the link: {CURVES}{sentence[:20]}: expected the number of a sentence, and FRAMES_F0 "
            "of each phone, joined by -, so the drawn melody and durations are not used"
        )
    pairs = [pair.split("_") for pair in text.split("-")]
    frames, f0 = [int(first) for first, _ in pairs], [float(second) for _, second in pairs]
    return {"sentence": int(sentence), "frames": frames, "f0": f0}


def check_speech_parts(
    root: Path, name: str, values: Mapping[str, Any]
) -> tuple[Values, list[str]]:
    """Check settings of a link with its voice.

    Args:
        root: folder of checkpoint folders.
        name: of the model in the link.
        values: of `read_speech_part`.
    Returns:
        The usable settings by name, with `view` in place of `FIELDS`; a sentence for each other.
    """
    if not values:
        return {}, []
    folder = find_folder(root, name)
    if folder is None or not is_voice(folder):
        return {}, [f"{name} is no voice, so the text and the style of the link are not used"]
    usable = {key: value for key, value in values.items() if key not in FIELDS}
    problems = []
    try:
        speakers = load_acoustic(root, name).config.speakers
        if usable.setdefault("speaker", speakers[0]) not in speakers:
            known, found = ", ".join(speakers[:10]), usable.pop("speaker")
            problems.append(f"{name} has no speaker {found[:40]!r}; expected one of {known}")
        if any(values.get(field) for field in FIELDS):
            usable["view"] = plan_view(root, name, {**values, "speaker": usable.get("speaker")})
    except ConditionError as error:
        problems.append(f"the link: {error}")
    except ConfigError as error:
        problems.append(str(error))
    except WaveNetError:  # shown with the model
        pass
    return usable, problems


def plan_view(root: Path, name: str, settings: Mapping[str, Any]) -> Values:
    """Return the message of the view of a text that was not spoken yet.

    Args:
        root: folder of checkpoint folders.
        name: of the voice.
        settings: those of `SpeechSettings` by name, and others.
    Raises:
        WaveNetError: a setting is invalid, or the voice is damaged.
    """
    names = ("text", "speaker", *STYLE_RANGES, *FIELDS)
    given = {key: settings[key] for key in names if settings.get(key) is not None}
    checked = make_config(SpeechSettings, "the link", **({"text": "", "seed": 0} | given))
    return speech_message(make_speech_job(root, name, checked), 0)
