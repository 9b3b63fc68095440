"""Measure how exact the times of an alignment are, and how well wrong texts are found.

    python benchmarks/phone_alignment.py boundaries CORPUS [--voice slt --sentences 60]
    python benchmarks/phone_alignment.py labels VOICE [--sentences 200]
    python benchmarks/phone_alignment.py wrong-texts CORPUS [--clips 120 --wrong 30]

CORPUS is a folder in the layout of LJSpeech. The last line is one JSON document.

boundaries: sentences of the corpus are spoken by flite, which prints the times of its phones
(`apt-get install flite`). Only phones that both have are compared. The voices slt and rms of flite
were trained on labels of an aligner, so an error that both aligners make is not found.

labels: the recordings of a Russian voice of festival are aligned, and compared with the labels of
the voice. VOICE is the folder msu_ru_nsh_clunits (`apt-get install festvox-ru`), with wav/ID.wav
and lab/ID.lab. Its boundaries are in steps of 10 ms, and no phone is shorter than 30 ms: they were
found by another aligner, not by a person. Each Russian phone is replaced by the most similar
English one. A stretch between two pauses of the labels is given to the aligner as one word, so the
number of pauses is known, but not their times. For comparison:

- pocketsphinx: the alignment of that package with its default settings;
- even_in_clip: all phones of the clip have equal lengths;
- even_in_phrase: the same between two pauses, whose times are those of the labels;
- other_text: this aligner, with the phones of another recording, in stretches of the same lengths.

wrong-texts: clips of the corpus are aligned, some of them with the text of another clip.
"""

import argparse
import difflib
import itertools
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_utils import io
from wavenet.bench.machine import describe_machine
from wavenet.errors import DataError
from wavenet.speech.align_clip import AlignPhones, align_clip, read_words
from wavenet.speech.alignment_checks import check_alignment
from wavenet.speech.alignment_file import AlignedClip
from wavenet.speech.forced_alignment import (
    SAMPLE_RATE,
    Segment,
    align_phones,
    import_decoder,
    scale_samples,
)
from wavenet.speech.phones import PHONES, without_stress
from wavenet.speech.speech_corpus import SpeechClip, list_clips

PAUSE = "pau"
REDUCED = {"AX": "AH"}  # a phone of flite, and ours
Phones = list[tuple[str, float, float]]
# The most similar English phone of each Russian one. Stressed vowels are doubled letters, vowels of
# the second level of reduction are ae, ay and ur; a doubled consonant is palatalised.
RUSSIAN = {
    name: english
    for english, names in {
        "IY": "ii",
        "IH": "i y yy",
        "EH": "e ee",
        "AA": "aa",
        "AH": "a ae ay",
        "AO": "oo",
        "UW": "uu",
        "UH": "u ur",
        "P": "p pp",
        "B": "b bb",
        "T": "t tt",
        "D": "d dd",
        "K": "k kk",
        "G": "g gg",
        "CH": "ch c",
        "F": "f ff",
        "V": "v vv",
        "S": "s ss",
        "Z": "z zz",
        "SH": "sh sch",
        "ZH": "zh",
        "HH": "h hh",
        "M": "m mm",
        "N": "n nn",
        "L": "l ll",
        "R": "r rr",
        "Y": "j",
    }.items()
    for name in names.split()
}


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("boundaries", "labels", "wrong-texts"):
        command = commands.add_parser(name)
        command.add_argument("voice" if name == "labels" else "corpus", type=Path)
        if name == "boundaries":
            command.add_argument("--voice", default="slt", help="of flite: slt, rms, kal16")
            command.add_argument("--sentences", type=int, default=60)
        elif name == "labels":
            command.add_argument("--sentences", type=int, default=200)
        else:
            command.add_argument("--clips", type=int, default=120)
            command.add_argument("--wrong", type=int, default=30)
    options = parser.parse_args()
    if options.command == "labels":
        print(json.dumps(compare_labels(options.voice, options.sentences)))
        return
    clips = list_clips(options.corpus).clips
    if options.command == "boundaries":
        chosen = clips[:: max(1, len(clips) // options.sentences)][: options.sentences]
        result = measure_boundaries([clip.text for clip in chosen], options.voice)
    else:
        chosen = clips[:: max(1, len(clips) // options.clips)][: options.clips]
        result = measure_wrong_texts(options.corpus, chosen, options.wrong)
    print(json.dumps(result))


def measure_boundaries(texts: list[str], voice: str) -> dict[str, object]:
    """Return the differences of boundaries between this aligner and flite, in ms."""
    inner: list[float] = []
    ends: list[float] = []
    matched = total = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        for text in texts:
            expected = speak(text, voice, path)
            waveform = io.read(path, 16_000).waveform.numpy()
            words = [word.phones for word in read_words(text, {})]
            segments = [s for s in align_phones(waveform, words) if s.word is not None]
            symbols = [without_stress(phone) for word in words for phone in word]
            found = [(name, s.start, s.end) for name, s in zip(symbols, segments, strict=True)]
            pairs = match_phones(found, expected)
            matched, total = matched + len(pairs), total + len(expected)
            for (a, b), (c, d) in itertools.pairwise(pairs):
                # neighbours without a pause between them, in both
                has_boundary = found[a][2] == found[c][1] and expected[b][2] == expected[d][1]
                if c == a + 1 and d == b + 1 and has_boundary:
                    inner.append(1000 * (found[c][1] - expected[d][1]))
            if pairs and pairs[0] == (0, 0):
                ends.append(1000 * (found[0][1] - expected[0][1]))
    return {
        "voice": voice,
        "sentences": len(texts),
        "matched_phones": matched / total,
        "boundaries_ms": summarise(inner),
        "first_phone_ms": summarise(ends),
    }


def speak(text: str, voice: str, path: Path) -> Phones:
    """Write a sentence as WAV, and return its phones with their times in seconds."""
    command = ["flite", "-voice", voice, "-psdur", "-t", text, "-o", str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    phones, start = [], 0.0
    for part in printed.split():
        name, _, end = part.partition(":")
        symbol = REDUCED.get(name.upper(), name.upper())
        if name != PAUSE:
            assert symbol in PHONES, symbol
            phones.append((symbol, start, float(end)))
        start = float(end)
    return phones


@dataclass
class Differences:
    """Times minus those of the labels, in ms.

    Attributes:
        inner: of boundaries between two phones.
        starts, ends: of stretches between two pauses.
    """

    inner: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def add(self, found: Sequence[Phones], expected: Sequence[Phones]) -> None:
        """Add the boundaries of a clip: its stretches between pauses, with as many phones each."""
        for ours, theirs in zip(found, expected, strict=True):
            starts = [
                1000 * (phone[1] - other[1]) for phone, other in zip(ours, theirs, strict=True)
            ]
            self.starts.append(starts[0])
            self.inner += starts[1:]
            self.ends.append(1000 * (ours[-1][2] - theirs[-1][2]))


def compare_labels(folder: Path, sentences: int) -> dict[str, object]:
    """Return the differences from the labels of a voice, of this aligner and for comparison."""
    paths = sorted((folder / "lab").glob("*.lab"))
    clips = [
        (folder / "wav" / f"{path.stem}.wav", read_labels(path))
        for path in paths[:: max(1, len(paths) // sentences)][:sentences]
    ]
    names = ("aligner", "pocketsphinx", "other_text", "even_in_phrase", "even_in_clip")
    differences = {name: Differences() for name in names}
    failed = dict.fromkeys(names, 0)
    for n, (path, phrases) in enumerate(clips):
        waveform = io.read(path, SAMPLE_RATE).waveform.numpy()
        other = take_phones(clips[n - 1][1], phrases)
        for name, text, align in (
            ("aligner", phrases, align_phones),
            ("pocketsphinx", phrases, align_by_default),
            ("other_text", other, align_phones),
        ):
            try:
                differences[name].add(align_phrases(waveform, text, align), phrases)
            except DataError:
                failed[name] += 1
        differences["even_in_phrase"].add([spread([phrase]) for phrase in phrases], phrases)
        even = iter(spread(phrases))
        differences["even_in_clip"].add([[next(even) for _ in p] for p in phrases], phrases)
    print("                clips failed  median  90 % below  within 20 ms  within 50 ms")
    for name, found in differences.items():
        row = summarise(found.inner)
        print(
            f"{name:15} {failed[name]:12} {row['median_absolute']:7} {row['percentile_90']:11} "
            f"{row['within_20']:13.1%} {row['within_50']:13.1%}"
        )
    return {
        "clips": len(clips),
        "failed": failed,
        **{
            name: {kind: summarise(values) for kind, values in vars(found).items()}
            for name, found in differences.items()
        },
        "machine": describe_machine(),
    }


def read_labels(path: Path) -> list[Phones]:
    """Return the stretches of phones between pauses; a line has the end, a colour and the phone."""
    phrases: list[Phones] = [[]]
    start = 0.0
    for line in path.read_text(encoding="utf-8").partition("#\n")[2].splitlines():
        end, _, name = line.split()
        if name == PAUSE:
            phrases.append([])
        else:
            phrases[-1].append((RUSSIAN[name], start, float(end)))
        start = float(end)
    return [phrase for phrase in phrases if phrase]


def align_phrases(
    waveform: NDArray[np.float32], phrases: Sequence[Phones], align: AlignPhones
) -> list[Phones]:
    """Return the stretches with the times of an aligner.

    Raises:
        DataError: the phones do not fit the recording.
    """
    names = [[name for name, *_ in phrase] for phrase in phrases]
    found: list[Phones] = [[] for _ in phrases]
    for segment in align(waveform, names):
        if segment.word is not None:
            phones = found[segment.word]
            phones.append((names[segment.word][len(phones)], segment.start, segment.end))
    return found


def align_by_default(
    waveform: NDArray[np.float32], words: Sequence[Sequence[str]]
) -> list[Segment]:
    """Return the phones of words as pocketsphinx aligns them with its default settings.

    Raises:
        DataError: the phones do not fit the recording.
    """
    decoder = import_decoder()(samprate=SAMPLE_RATE, lm=None, dict=None, loglevel="FATAL")
    entries = {" ".join(word): f"w{n}" for n, word in enumerate(words)}
    for phones, entry in entries.items():
        decoder.add_word(entry, phones, False)
    names = [entries[" ".join(word)] for word in words]
    decoder.set_align_text(" ".join(names))
    content = scale_samples(waveform).tobytes()
    for is_second_pass in (False, True):
        if is_second_pass:
            decoder.set_alignment()
        try:
            decoder.start_utt()
            decoder.process_raw(content, no_search=False, full_utt=True)
            decoder.end_utt()
        except RuntimeError:
            raise DataError("the text does not match the recording") from None
        if not is_second_pass and decoder.hyp() is None:
            raise DataError("the text does not match the recording")
    alignment = decoder.get_alignment()
    if alignment is None:
        raise DataError("the text does not match the recording")
    segments: list[Segment] = []
    position = -1
    for word in alignment:
        if word.name in names:
            position += 1
            for phone in word:
                start, end = phone.start / 100, (phone.start + phone.duration) / 100
                segments.append(Segment(position, start, end, phone.duration, 0.0))
    if len(segments) != sum(map(len, words)):
        raise DataError("the text does not match the recording")
    return segments


def take_phones(other: Sequence[Phones], phrases: Sequence[Phones]) -> list[Phones]:
    """Return stretches of the same lengths and times, with the phones of another recording."""
    names = itertools.cycle(name for phrase in other for name, *_ in phrase)
    return [[(next(names), *phone[1:]) for phone in phrase] for phrase in phrases]


def spread(phrases: Sequence[Phones]) -> Phones:
    """Return all phones with equal lengths, from the first start to the last end."""
    phones = [phone for phrase in phrases for phone in phrase]
    times = np.linspace(phones[0][1], phones[-1][2], len(phones) + 1).tolist()
    return [
        (phone[0], *span) for phone, span in zip(phones, itertools.pairwise(times), strict=True)
    ]


def match_phones(found: Phones, expected: Phones) -> list[tuple[int, int]]:
    """Return the pairs of indices of equal phones in the longest common blocks."""
    names = [[phone[0] for phone in phones] for phones in (found, expected)]
    blocks = difflib.SequenceMatcher(None, *names, autojunk=False).get_matching_blocks()
    return [(b.a + n, b.b + n) for b in blocks for n in range(b.size)]


def summarise(differences: list[float]) -> dict[str, float]:
    """Return the median, and quantiles of the absolute differences."""
    absolute = np.abs(differences)
    return {
        "count": len(differences),
        "median": round(float(np.median(differences)), 1),
        "median_absolute": round(float(np.median(absolute)), 1),
        "percentile_90": round(float(np.percentile(absolute, 90)), 1),
        "within_20": round(float((absolute < 20).mean()), 3),
        "within_50": round(float((absolute < 50).mean()), 3),
    }


def measure_wrong_texts(folder: Path, clips: list[SpeechClip], wrong: int) -> dict[str, object]:
    """Return how many clips with the text of another clip fail, and how many are doubtful."""
    changed = {clip.id for clip in clips[:: len(clips) // wrong][:wrong]}
    aligned: list[AlignedClip] = []
    failed: set[str] = set()
    for n, clip in enumerate(clips):
        text = clips[(n + 7) % len(clips)].text if clip.id in changed else clip.text
        try:
            words = read_words(text, {})
            aligned.append(align_clip(folder, clip, words, "0" * 32, align_phones))
        except DataError:
            failed.add(clip.id)
    doubtful = {found.id for found in check_alignment(aligned).doubtful}
    median = np.median([clip.score for clip in aligned])
    scale = 1.4826 * np.median([abs(clip.score - median) for clip in aligned])
    z = {clip.id: (clip.score - median) / scale for clip in aligned}
    right = [value for name, value in z.items() if name not in changed]
    return {
        "clips": len(clips),
        "wrong": len(changed),
        "wrong_failed": len(failed & changed),
        "wrong_doubtful": len(doubtful & changed),
        "right_failed": len(failed - changed),
        "right_doubtful": len(doubtful - changed),
        "lowest_z_right": round(min(right), 2),
        "highest_z_wrong": round(max(v for name, v in z.items() if name in changed), 2),
    }


if __name__ == "__main__":
    main()
