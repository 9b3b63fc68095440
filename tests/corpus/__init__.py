"""Helpers for the tests of corpora: write recordings, hash the files of a corpus."""

import hashlib
from pathlib import Path

import numpy as np
import soundfile

RATE = 8000


def write_recordings(folder: Path, count: int = 20, samples: int = 400) -> Path:
    """Write short recordings of noise, of several lengths, named digit_speaker_take."""
    rng = np.random.default_rng(0)
    for n in range(count):
        path = folder / f"{'ab'[n % 2]}" / f"{n % 3}_{('theo', 'lucas')[n % 2]}_{n:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(-9000, 9000, samples + 7 * n, dtype=np.int16)
        soundfile.write(path, noise, RATE)
    return folder


def corpus_hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a corpus, by name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
