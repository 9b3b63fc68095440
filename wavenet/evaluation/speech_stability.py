"""Stability of a voice: does it speak any sentence without running away, skipping, or crashing?

Input: a voice, and texts. Output: what was found in each sentence of each text. The findings:

    long token      a phone or pause that is longer than people make it
    long sound      a sentence much longer than its phones and pauses explain
    no match        the aligner does not find the phones of the text in the sound
    doubtful words  words that fit much worse than those of the other sentences; skipped words do
    odd speed       a sentence much faster or slower than the others
    crash           an error, with its message

The last three but one come from `speech.alignment_checks`, and are left out without an aligner.
Called by `wavenet evaluate stability`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from wavenet.errors import DataError
from wavenet.evaluation.speech_judges import resample_for_judges
from wavenet.generation.checkpoint_engine import make_checkpoint_engine
from wavenet.progress import NoProgress, Progress
from wavenet.speech.align_clip import AlignPhones, record_alignment, sentence_words
from wavenet.speech.alignment_checks import check_alignment
from wavenet.speech.alignment_file import AlignedClip
from wavenet.speech.speech_corpus import SpeechClip
from wavenet.speech.voice import SentencePlan, SpokenToken, Voice

LONGEST_PHONE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 1.0
# of a sentence: its phones and pauses, each at the slowest that is still natural
PHONE_SECONDS = 0.2
PAUSE_SECONDS = 0.7
NOT_STORED = "0" * 32  # digest of an alignment that is not written


class Fault(StrEnum):
    """A kind of finding."""

    LONG_TOKEN = "long token"
    LONG_SOUND = "long sound"
    NO_MATCH = "no match"
    DOUBTFUL = "doubtful words"
    SPEED = "odd speed"
    CRASH = "crash"


@dataclass(frozen=True)
class SpeechFault:
    """A finding in a sentence.

    Attributes:
        line: number of the text, from 1.
        text: of the sentence.
        fault: its kind.
        reason: a short text with the figures.
    """

    line: int
    text: str
    fault: Fault
    reason: str


@dataclass(frozen=True)
class AlignedSentence:
    """The alignment of a sentence, and the number of its text."""

    line: int
    clip: AlignedClip


@dataclass(frozen=True)
class StabilityReport:
    """The result of a run.

    Attributes:
        texts: number of texts; sentences: number of sentences that were spoken.
        seconds: of sound.
        aligned: sentences that the aligner checked.
        faults: in the order of the texts.
    """

    texts: int
    sentences: int
    seconds: float
    aligned: int
    faults: tuple[SpeechFault, ...]

    def bad_lines(self) -> list[int]:
        """Return the numbers of the texts with a finding."""
        return sorted({fault.line for fault in self.faults})

    def count(self) -> dict[str, int]:
        """Return the number of texts with each kind of finding."""
        return {
            kind.value: len({fault.line for fault in self.faults if fault.fault == kind})
            for kind in Fault
        }


def check_stability(
    voice: Voice,
    texts: Sequence[str],
    align: AlignPhones | None,
    seed: int = 0,
    speaker: str | None = None,
    progress: Progress | None = None,
) -> StabilityReport:
    """Speak every text and report what is wrong with it.

    Args:
        voice: to check.
        texts: each is one or more sentences.
        align: the aligner; None: no check of the words.
        seed: of the noise of the vocoder, for all texts.
        speaker: of the voice; None: its first.
        progress: counts texts.
    """
    progress = progress or NoProgress()
    faults: list[SpeechFault] = []
    clips: list[AlignedSentence] = []
    plans = samples = 0
    engine = make_checkpoint_engine("auto", voice.vocoder)
    for line, text in enumerate(texts, start=1):
        try:
            for plan in voice.plan(text, speaker=speaker):
                sound = torch.cat(list(voice.speak_sentence(plan, seed, engine=engine)))
                plans, samples = plans + 1, samples + len(sound)
                faults += _check_plan(line, plan)
                if align is not None:
                    try:
                        clip = _align_sentence(plans, plan, sound, voice.sample_rate, align)
                        clips.append(AlignedSentence(line, clip))
                    except DataError as error:
                        faults.append(SpeechFault(line, _text(plan), Fault.NO_MATCH, str(error)))
        except Exception as error:  # of any kind: crashes are what is looked for
            reason = f"{type(error).__name__}: {error}"
            faults.append(SpeechFault(line, text, Fault.CRASH, reason))
        progress.advance(1)
    faults += _compare_sentences(clips)
    faults.sort(key=lambda fault: fault.line)
    return StabilityReport(
        len(texts), plans, samples / voice.sample_rate, len(clips), tuple(faults)
    )


def _check_plan(line: int, plan: SentencePlan) -> Iterator[SpeechFault]:
    """Yield the findings in the times of a sentence."""
    text = _text(plan)
    for n, spoken in enumerate(plan.tokens):
        limit = LONGEST_PAUSE_SECONDS if spoken.token.is_pause else LONGEST_PHONE_SECONDS
        if _length(spoken) >= limit:
            reason = f"{spoken.token.symbol} (token {n + 1}) lasts {_length(spoken):.2f} s"
            yield SpeechFault(line, text, Fault.LONG_TOKEN, reason)
    phones = len(plan.sentence.phones)
    pauses = sum(spoken.token.is_pause for spoken in plan.tokens)
    limit = phones * PHONE_SECONDS + pauses * PAUSE_SECONDS
    seconds = plan.tokens[-1].end
    if seconds > limit:
        reason = f"{seconds:.1f} s for {phones} phones and {pauses} pauses; at most {limit:.1f} s"
        yield SpeechFault(line, text, Fault.LONG_SOUND, reason)


def _length(spoken: SpokenToken) -> float:
    return spoken.end - spoken.start


def _text(plan: SentencePlan) -> str:
    return plan.sentence.text.strip()


def _align_sentence(
    number: int, plan: SentencePlan, sound: Tensor, sample_rate: int, align: AlignPhones
) -> AlignedClip:
    """Return the alignment of a sentence; its id is `number`."""
    words = sentence_words(plan.sentence)
    samples = resample_for_judges(sound, sample_rate)
    segments = align(samples, [list(word.phones) for word in words])
    clip = SpeechClip(str(number), "sound", _text(plan))
    return record_alignment(clip, words, NOT_STORED, segments)


def _compare_sentences(aligned: Sequence[AlignedSentence]) -> Iterator[SpeechFault]:
    """Yield the findings of sentences that differ from the others."""
    by_id = {one.clip.id: one for one in aligned}
    findings = check_alignment([one.clip for one in aligned])
    for doubtful in findings.doubtful:
        found = by_id[doubtful.id]
        reason = (
            f"{doubtful.words!r} at {doubtful.start:.2f} to {doubtful.end:.2f} s: score "
            f"{doubtful.score:.2f}, usually {doubtful.typical:.2f}"
        )
        yield SpeechFault(found.line, found.clip.text, Fault.DOUBTFUL, reason)
    for odd in findings.speeds:
        found = by_id[odd.id]
        reason = f"{odd.speed:.1f} phones per second, usually {odd.typical:.1f}"
        yield SpeechFault(found.line, found.clip.text, Fault.SPEED, reason)
