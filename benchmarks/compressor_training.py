"""Train the shipped compressor again: a network for `wavenet compress`.

    python benchmarks/compressor_training.py RECORDINGS --out FIRST
    python benchmarks/compressor_training.py RECORDINGS --out SECOND --from FIRST --all-notes \\
        --steps 1400 --learning-rate 1e-3

RECORDINGS is a folder with `fsdd/recordings`, `kathleen`, `ljspeech_more`, `instruments` and
`klon`; sets that are missing are left out. FIRST and SECOND become compressors; an interrupted
training continues. The second command has four times as many notes. Features of all recordings
need 5 GB in the folder while it is trained. The last line is one JSON document.
"""

import argparse
import csv
import json
import random
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from wavenet.compression.block_coder import wasted_bits
from wavenet.compression.compression_network import CompressionNetworkConfig
from wavenet.compression.compressor_folder import COMPRESSOR, save_compressor
from wavenet.compression.train_compressor import CompressorSettings, train_compressor
from wavenet.compression.training_clips import prepare_clips
from wavenet.devices import processor_name
from wavenet.network_folder import load_network

GUITAR_CLIP = 3 * 11_025  # samples; the recording consists of independent clips of a third of it


def list_recordings(data: Path, all_notes: bool = False) -> tuple[list[str], list[str]]:
    """Return the names of training and validation recordings; some have a range of samples.

    Args:
        all_notes: False takes every fourth note of the training split.
    """

    def names(pattern: str) -> list[str]:
        return sorted(str(path.relative_to(data)) for path in data.glob(pattern))

    def take(name: str) -> int:
        return int(Path(name).stem.split("_")[-1])

    digits = names("fsdd/recordings/*.wav")
    tests = {f"arctic_b{n:04d}" for n in range(480, 520)}
    sentences = [name for name in names("kathleen/**/*.flac") if Path(name).stem not in tests]
    training = [name for name in digits if take(name) >= 10]
    training += sentences[3::3][:-10] + names("ljspeech_more/**/*.flac")[::6]
    validation = [name for name in digits if take(name) in (8, 9)][::6] + sentences[1::3][:6]
    table = data / "instruments/metadata.csv"
    if table.is_file():
        with table.open(encoding="utf-8") as file:
            pitches = {row["file_name"]: int(row["pitch"]) for row in csv.DictReader(file)}
        notes = names("instruments/**/*.flac")
        notes = [name for name in notes if pitches[Path(name).name] % 12 != 8]
        validation += notes[1::40][:4]
        training += [name for name in notes[:: 1 if all_notes else 4] if name not in validation]
    if (data / "klon/input.flac").is_file():
        starts = range(0, 120 * GUITAR_CLIP, 3 * GUITAR_CLIP)
        training += [f"klon/input.flac#{start}#{start + GUITAR_CLIP}" for start in starts]
    random.Random(0).shuffle(training)
    return training, validation


def read_recording(path: Path) -> NDArray[np.int64]:
    """Return the samples of a recording without wasted bits, (samples,)."""
    name, _, places = str(path).partition("#")
    start, stop = map(int, places.split("#")) if places else (0, None)
    samples, _ = soundfile.read(name, dtype="int16", start=start, stop=stop)
    whole = samples.astype(np.int32)
    return (whole >> wasted_bits(whole, 16) % 16).astype(np.int64)


def main() -> None:
    """Prepare the features and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--from", type=Path, dest="first", help="compressor to start from")
    parser.add_argument("--all-notes", action="store_true")
    options = parser.parse_args()
    training, validation = list_recordings(options.recordings, options.all_notes)
    clips = [
        prepare_clips(
            options.out / f"features-{name}",
            names,
            lambda name: read_recording(options.recordings / name),
            lambda done, total: print(f"features: {done} of {total}", flush=True),
        )
        for name, names in (("training", training), ("validation", validation))
    ]
    torch.set_num_threads(1)
    start, last = time.monotonic(), 0.0

    def report(step: int, bits: float | None) -> None:
        nonlocal last
        if bits is not None:
            last = bits
            minutes = (time.monotonic() - start) / 60
            print(f"step {step}: {bits:.4f} bits per sample, {minutes:.0f} min", flush=True)

    train_compressor(
        CompressionNetworkConfig(),
        CompressorSettings(steps=options.steps, learning_rate=options.learning_rate),
        *clips,
        options.out,
        lambda network: save_compressor(options.out, network),
        report,
        start=load_network(options.first, COMPRESSOR) if options.first else None,
    )
    print(json.dumps({"processor": processor_name(), "bits_per_sample": last}))


if __name__ == "__main__":
    main()
