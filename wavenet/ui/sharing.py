"""The settings of a run in three other forms: JSON, a link to this page, a command line.

A job enters; text leaves. A link comes back as values of controls. Each of the three makes the same
audio again.
"""

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from wavenet.ui import jobs
from wavenet.ui.jobs import Job

# Numbers of a run by their name in a link, with what leaves them out.
NUMBERS = {"seconds": None, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "guidance": 1.0}
LABEL = "label."  # before the name of a condition, in a link
MAX_LETTERS = 4000  # of a link; what follows is not read


def settings(job: Job) -> dict[str, Any]:
    """Gather what determines the audio, and the engine that made it."""
    wish = job.wish
    return {
        "checkpoint": job.checkpoint.folder.name,
        "labels": dict(wish.labels),
        "seed": wish.seed,
        "seconds": job.items[0].samples / job.rate,
        "temperature": wish.temperature,
        "top_k": wish.top_k,
        "top_p": wish.top_p,
        "guidance": wish.guidance,
        "variants": wish.variants,
        "recording": job.source or None,
        "engine": job.engine.name,
    }


def as_json(job: Job) -> str:
    """Write the settings for programs and notes."""
    return json.dumps(settings(job), indent=2, ensure_ascii=False)


def as_link(job: Job) -> str:
    """Write the settings as the query of a link to this page; recordings stay where they are."""
    found = settings(job)
    query = {"checkpoint": found["checkpoint"], "seed": found["seed"]}
    usual = jobs.usual_drawing(job.checkpoint)
    query |= {
        name: found[name]
        for name, off in NUMBERS.items()
        if found[name] != off or usual.get(name, off) != off
    }
    if job.wish.variants > 1:
        query["variants"] = job.wish.variants
    query |= {LABEL + name: value for name, value in job.wish.labels.items()}
    return "?" + urlencode(query)


def read_link(query: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the query of a link: values of controls, and labels, both as far as they can be used.

    Whoever made the link may have put anything into it; what is no number is left out, and the
    rest is checked when the run begins.
    """
    values: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for name, text in parse_qsl(query[:MAX_LETTERS]):
        if name.startswith(LABEL):
            labels[name.removeprefix(LABEL)] = text
        elif name == "checkpoint":
            values[name] = text
        elif name in NUMBERS or name in ("seed", "variants"):
            try:
                values[name] = float(text) if "." in text else int(text)
            except ValueError:
                continue
    return values, labels


def as_command(job: Job) -> str:
    """Write the commands that make the same files; recordings are to lie where they are typed."""
    if job.items[0].frame_features is None:
        return shlex.join(_generate(job))
    seeds = [item.seed for item in job.items]
    lines = zip(seeds, job.file_names, strict=True)
    return "\n".join(shlex.join(_vocode(job, seed, name)) for seed, name in lines)


def _generate(job: Job) -> list[str]:
    seconds = ["--seconds", f"{job.items[0].samples / job.rate:.10g}"]
    words = ["wavenet", "generate", *_common(job), *seconds, "--seed", str(job.wish.seed)]
    if job.source:
        words += ["--prompt", job.source, *([] if job.opening.numel() else ["--without-prompt"])]
    if job.wish.variants > 1:
        return [*words, "--count", str(job.wish.variants), "--out", "."]
    return [*words, "--out", job.file_names[0]]


def _vocode(job: Job, seed: int, name: str) -> list[str]:
    words = ["wavenet", "vocode", job.source, *_common(job), "--seed", str(seed)]
    return [
        *words,
        "--mel-matching-iterations",
        "0",
        "--out",
        name,
    ]  # the page plays the clip as drawn


def _common(job: Job) -> list[str]:
    wish, folder = job.wish, Path(job.checkpoint.folder)
    words = ["--checkpoint", f"{folder.parent.name}/{folder.name}"]
    for name, value in wish.labels.items():
        words += ["--set", f"{name}={value if isinstance(value, str) else format(value, 'g')}"]
    usual, everything = jobs.usual_drawing(job.checkpoint), job.checkpoint.model.n_classes
    drawing = {"temperature": wish.temperature, "top_k": wish.top_k or everything}
    drawing |= {"top_p": wish.top_p, "guidance": wish.guidance}
    for name, number in drawing.items():
        if getattr(wish, name) != usual[name]:
            words += [f"--{name.replace('_', '-')}", f"{number:g}"]
    return words
