"""Measure how exact the times of an alignment are, and how well wrong texts are found.

    python benchmarks/phone_alignment.py boundaries CORPUS [--voice slt --sentences 60]
    python benchmarks/phone_alignment.py wrong-texts CORPUS [--clips 120 --wrong 30]

CORPUS is a folder in the layout of LJSpeech.

boundaries: sentences of the corpus are spoken by flite, which prints the times of its phones
(`apt-get install flite`). Only phones that both have are compared. The voices slt and rms of flite
were trained on labels of an aligner, so an error that both aligners make is not found.

wrong-texts: clips of the corpus are aligned, some of them with the text of another clip. The last
line is one JSON document.
"""

import argparse
import difflib
import itertools
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from audio_utils import io
from wavenet.errors import DataError
from wavenet.speech.align_clip import align_clip, read_words
from wavenet.speech.alignment_checks import check_alignment
from wavenet.speech.alignment_file import AlignedClip
from wavenet.speech.forced_alignment import align_phones
from wavenet.speech.phones import PHONES, without_stress
from wavenet.speech.speech_corpus import SpeechClip, list_clips

PAUSE = "pau"
REDUCED = {"AX": "AH"}  # a phone of flite, and ours
Phones = list[tuple[str, float, float]]


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("boundaries", "wrong-texts"):
        command = commands.add_parser(name)
        command.add_argument("corpus", type=Path)
        if name == "boundaries":
            command.add_argument("--voice", default="slt", help="of flite: slt, rms, kal16")
            command.add_argument("--sentences", type=int, default=60)
        else:
            command.add_argument("--clips", type=int, default=120)
            command.add_argument("--wrong", type=int, default=30)
    options = parser.parse_args()
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
