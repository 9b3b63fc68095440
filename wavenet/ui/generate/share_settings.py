"""The settings of a generated clip in three forms: JSON, a link to the page, a command line.

Input: a job. Output: text, from which the same audio can be generated; the user must supply
recordings again. A link is also read: its query is converted to values of controls, and unusable
parts are reported. Called by the Generate tab.
"""

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from wavenet.checkpoint_folders import named_folder, studio_name
from wavenet.config import make_config
from wavenet.errors import ConditionError, ConfigError
from wavenet.ui.generate.generation_job import (
    NUMBER_TYPES,
    GenerateSettings,
    GenerationJob,
    default_sampling,
)
from wavenet.ui.speak.speech_link import NAMES, read_speech_part
from wavenet.user_input.close_names import find_close_name, find_equal_name
from wavenet.user_input.typed_numbers import parse_number

# The values that switch numbers of a link off. A number is omitted if it and the default of the
# checkpoint both have this value.
OFF_VALUES = {"seconds": None, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "guidance": 1.0}
CONDITION_PREFIX = "condition."  # begins the names of conditions in a link
# Settings of the page itself, as are names that begin with two underscores.
PAGE_PARAMETERS = ("view", "deep_link", "embed")
# Characters; the rest of a longer query is ignored. A text to speak has up to 3,000 characters.
MAX_QUERY_LENGTH = 8000


def settings_of(job: GenerationJob) -> dict[str, Any]:
    """Return all settings that determine the saved audio, and the name of the engine."""
    return {
        "checkpoint": studio_name(Path(job.checkpoint.folder)),
        **job.settings.model_dump(),
        "seconds": job.requests[0].samples / job.sample_rate,
        "recording": job.recording_name or None,
        "with_prompt": job.prefix.numel() > 0,
        "engine": job.engine.name,
        "precision": job.engine.precision,
    }


def page_settings(job: GenerationJob) -> dict[str, Any]:
    """Return the settings by the names that the page gives them, with the paths of recordings."""
    settings = settings_of(job) | {"engine": job.requested_engine, "prompt": None, "source": None}
    settings["model"] = settings.pop("checkpoint")
    is_prompt = job.requests[0].frame_features is None
    settings["prompt" if is_prompt else "source"] = job.recording or None
    if not settings["prompt"]:
        del settings["with_prompt"]
    return settings


def format_json(job: GenerationJob) -> str:
    """Return the settings as JSON."""
    return json.dumps(settings_of(job), indent=2, ensure_ascii=False)


def format_link(job: GenerationJob) -> str:
    """Return the settings as the query of a link to the page; the link contains no recordings."""
    settings = settings_of(job)
    query = {"checkpoint": settings["checkpoint"], "seed": settings["seed"]}
    default = default_sampling(job.checkpoint)
    query |= {
        name: settings[name]
        for name, off in OFF_VALUES.items()
        if settings[name] != off or default.get(name, off) != off
    }
    if job.settings.variants > 1:
        query["variants"] = job.settings.variants
    query |= {CONDITION_PREFIX + name: value for name, value in job.settings.conditions.items()}
    return "?" + urlencode(query)


def read_link(query: str) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Read the query of a link; any text is accepted.

    Returns:
        Values of controls by name; condition values by name; one sentence for each part of the
        link that cannot be used.
    """
    values: dict[str, Any] = {}
    conditions: dict[str, str] = {}
    problems: dict[str, None] = {}  # in order, each once
    if len(query) > MAX_QUERY_LENGTH:
        problems[f"the link is longer than {MAX_QUERY_LENGTH} characters; its end is ignored"] = (
            None
        )
        query = query[:MAX_QUERY_LENGTH].rpartition("&")[0]  # a part of a text is no text
    for given, text in parse_qsl(query, keep_blank_values=True):
        try:
            _read_part(values, conditions, given, text)
        except ConditionError as error:
            problems[str(error)] = None
    return values, conditions, list(problems)


def _read_part(values: dict[str, Any], conditions: dict[str, str], given: str, text: str) -> None:
    """Add a part of a link to the values of controls, or to those of conditions.

    Raises:
        ConditionError: it cannot be used.
    """
    known = ("checkpoint", *NUMBER_TYPES)
    if given in PAGE_PARAMETERS or given.startswith("__"):
        return
    if given.casefold().startswith(CONDITION_PREFIX):
        conditions[given[len(CONDITION_PREFIX) :]] = text
    elif (name := find_equal_name(given, known)) is not None:
        values[name] = text if name == "checkpoint" else read_setting(name, text)
    elif not read_speech_part(values, given, text):
        close = find_close_name(given, (*known, *NAMES))
        hint = "" if close is None else f", did you mean {close!r}"
        raise ConditionError(f"the link has an unknown setting {given[:40]!r}{hint}")


def read_setting(name: str, text: str) -> Any:
    """Return a number from a link, or from the settings that the browser has kept.

    Raises:
        ConditionError: the text is no finite number, is out of range, or has a fraction where none
            is possible.
    """
    number = parse_number(text[:40], name, NUMBER_TYPES[name])
    try:
        make_config(GenerateSettings, "the link", **{"seconds": 1.0, name: number})
    except ConfigError as error:
        raise ConditionError(str(error)) from None
    return number


def format_command(job: GenerationJob) -> str:
    """Return the commands that write the same files; recordings must be in the working folder."""
    if job.requests[0].frame_features is None:
        return shlex.join(_generate_command(job))
    seeds = [request.seed for request in job.requests]
    commands = zip(seeds, job.file_names, strict=True)
    return "\n".join(shlex.join(_vocode_command(job, seed, name)) for seed, name in commands)


def _generate_command(job: GenerationJob) -> list[str]:
    settings = job.settings
    seconds = ["--seconds", f"{job.requests[0].samples / job.sample_rate:.10g}"]
    words = ["wavenet", "generate", *_common_options(job), *seconds, "--seed", str(settings.seed)]
    if job.recording_name:
        leave_out = [] if job.prefix.numel() else ["--without-prompt"]
        words += ["--prompt", job.recording_name, *leave_out]
    if settings.variants > 1:
        return [*words, "--count", str(settings.variants), "--out", "."]
    return [*words, "--out", job.file_names[0]]


def _vocode_command(job: GenerationJob, seed: int, name: str) -> list[str]:
    words = ["wavenet", "vocode", job.recording_name, *_common_options(job), "--seed", str(seed)]
    # The page plays the clip without mel matching.
    return [*words, "--mel-matching-iterations", "0", "--out", name]


def _common_options(job: GenerationJob) -> list[str]:
    settings, folder = job.settings, named_folder(Path(job.checkpoint.folder))
    name = studio_name(folder)
    words = ["--checkpoint", f"{folder.parents[name.count('/')].name}/{name}"]
    for name, value in settings.conditions.items():
        words += ["--set", f"{name}={value if isinstance(value, str) else format(value, 'g')}"]
    default, all_codes = default_sampling(job.checkpoint), job.checkpoint.model.n_classes
    sampling = {"temperature": settings.temperature, "top_k": settings.top_k or all_codes}
    sampling |= {"top_p": settings.top_p, "guidance": settings.guidance}
    for name, number in sampling.items():
        if getattr(settings, name) != default[name]:
            words += [f"--{name.replace('_', '-')}", f"{number:g}"]
    return words
