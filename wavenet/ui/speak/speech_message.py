"""What the page shows of a spoken text: its words, its phones, the curves that can be changed.

Input: a `SpeechJob`. Output: the message for `speech_view.js`, and the panel of phones for the
viewer. Called by `speech_events`.
"""

from typing import Any

import torch

from wavenet.speech.phones import phone_of
from wavenet.speech.voice import F0_MAX, F0_MIN, LONGEST_PHONE, SentencePlan
from wavenet.ui.speak.speech_job import SpeechJob, SpeechSettings
from wavenet.ui.viewer.panels import Panel

NO_SOUND = "–"  # a pause, in the panel of phones


def speech_message(job: SpeechJob, job_number: int) -> dict[str, Any]:
    """Return the message that shows a text before its sound.

    Args:
        job: the planned text.
        job_number: from the browser.
    """
    config, settings = job.voice.acoustic.config, job.settings
    sentences = zip(job.plans, job.planned, job.starts, strict=False)
    return {
        "job": job_number,
        "text": settings.text,
        "style": style_key(job.name, settings),
        "framesPerSecond": config.frames_per_second,
        "longest": round(LONGEST_PHONE * config.frames_per_second),
        "f0Range": [F0_MIN, F0_MAX],
        "sentences": [
            describe_sentence(plan, planned, start / job.sample_rate)
            for plan, planned, start in sentences
        ],
        "changes": [change.model_dump(mode="json") for change in settings.changes],
        "pronunciations": settings.pronunciations,
        "notices": list(job.notices),
    }


def style_key(name: str | None, settings: SpeechSettings) -> list[Any]:
    """Return the settings that changes of the curves are valid for."""
    return [name, settings.speaker, settings.speed, settings.pitch, settings.melody]


def describe_sentence(plan: SentencePlan, planned: SentencePlan, start: float) -> dict[str, Any]:
    """Return a sentence for the page.

    Args:
        plan: of the sentence.
        planned: the same before the changes of the user.
        start: of its sound, s.
    """
    times = iter(plan.word_times())
    words = []
    for word in plan.sentence.words:
        spans = [next(times) for _ in word.read]
        words.append(
            {
                "text": word.written,
                "read": [{"text": r.text, "phones": " ".join(r.phones)} for r in word.read],
                "start": spans[0][0],
                "end": spans[-1][1],
                "at": [word.start - plan.sentence.start, word.end - plan.sentence.start],
            }
        )
    tokens = [
        {
            "symbol": NO_SOUND if spoken.token.is_pause else spoken.token.symbol,
            "frames": spoken.frames,
            "f0": round(spoken.f0, 2),
            "isVoiced": not spoken.token.is_pause and phone_of(spoken.token.symbol).is_voiced,
            "original": [before.frames, round(before.f0, 2)],
        }
        for spoken, before in zip(plan.tokens, planned.tokens, strict=True)
    ]
    return {"text": plan.sentence.text, "start": start, "words": words, "tokens": tokens}


def phone_panel(job: SpeechJob) -> Panel:
    """Return the panel with the times of all phones of a job, for the viewer."""
    bounds, names = [0.0], []
    for plan, start in zip(job.plans, job.starts, strict=False):
        for spoken in plan.tokens:
            if spoken.frames:
                bounds.append(start / job.sample_rate + spoken.end)
                names.append("" if spoken.token.is_pause else spoken.token.symbol)
    high = max(bounds[-1], job.samples / job.sample_rate)
    return Panel("Phones", "intervals", torch.tensor([bounds]), high=high, names=names)
