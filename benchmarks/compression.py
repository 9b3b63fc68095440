"""Measure lossless compression beside FLAC, WavPack and Zstandard, on seven sets of recordings.

    python benchmarks/compression.py --data RECORDINGS [--out FOLDER] [--compressor NAME]
    python benchmarks/compression.py --speed

RECORDINGS is a folder with `fsdd/recordings`, `kathleen`, `instruments` and `clips`; sets that are
missing there are left out. Every file is compressed, decompressed and compared. A row is a set and
a system: files, samples, bytes, bits per sample of one channel, seconds of both ways, for all
files together. The programs `flac`, `wavpack`, `wvunpack` and `zstd` are used if they are
installed. `network` is the compressor without adaptive predictors. `--speed` measures many streams
and one, on one core. The last line is one JSON document.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavenet.compression.block_coder import CodedBits, NetworkBlockCoder
from wavenet.compression.blocks import Block
from wavenet.compression.compress_files import CompressedFile, CompressionSettings, compress_files
from wavenet.compression.compressor_folder import DEFAULT, load_compressor
from wavenet.compression.decode_files import DecodedFile, decompress_files
from wavenet.compression.file_task import FileTask
from wavenet.devices import processor_name

WAV_HEADER = 44
SPEED_SECONDS = 10
RUNS = 5


@dataclass(frozen=True)
class Row:
    """One set under one system.

    Attributes:
        recordings: name of the set.
        bits_per_sample: of one channel, of whole files.
        network_bits: the same of the coded streams under the network alone, in theory.
        coded_bits: of the coded streams, as they were written.
    """

    recordings: str
    system: str
    files: int
    samples: int
    bytes: int
    bits_per_sample: float
    encode_seconds: float
    decode_seconds: float
    network_bits: float | None = None
    coded_bits: float | None = None


class CountingCoder(NetworkBlockCoder):
    """Also adds the bits of the network alone."""

    total = CodedBits(0, 0.0, 0.0, 0)

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        payloads, bits = self.encode_and_count(blocks)
        old = self.total
        self.total = CodedBits(
            old.samples + bits.samples,
            old.network_bits + bits.network_bits,
            old.mixture_bits + bits.mixture_bits,
            old.coded_bits + bits.coded_bits,
        )
        return payloads


def write_sets(data: Path, folder: Path) -> dict[str, list[Path]]:
    """Write all recordings as WAV files with 16 bits; return them by set."""
    sets: dict[str, list[Path]] = {}

    def add(name: str, file_name: str, samples: NDArray[np.int16], rate: int) -> None:
        path = folder / name / f"{file_name}.wav"
        path.parent.mkdir(exist_ok=True, parents=True)
        soundfile.write(path, samples, rate, subtype="PCM_16")
        sets.setdefault(name, []).append(path)

    def add_files(name: str, paths: Sequence[Path]) -> None:
        for path in paths:
            samples, rate = soundfile.read(path, dtype="int16")
            add(name, path.stem, samples, rate)

    add_files("digits", sorted((data / "fsdd/recordings").glob("*_[0-4].wav")))
    sentences = [f"arctic_b{n:04d}.flac" for n in range(480, 520)]
    found = {path.name: path for path in (data / "kathleen").rglob("*.flac")}
    add_files("kathleen", [found[name] for name in sentences if name in found])
    table = data / "instruments/metadata.csv"
    if table.is_file():
        with table.open(encoding="utf-8") as file:
            notes = [
                row["file_name"] for row in csv.DictReader(file) if int(row["pitch"]) % 12 == 8
            ]
        found = {path.name: path for path in table.parent.rglob("*.flac")}
        add_files("instruments", [found[name] for name in notes if name in found])
    for clip in ("hungarian_dance", "sugar_plum_fairy"):
        path = data / f"clips/{clip}.ogg"
        if path.is_file():
            samples, rate = soundfile.read(path, dtype="int16", start=44_100, frames=20 * 44_100)
            add("music", clip, samples, rate)
    rng = np.random.default_rng(0)
    time_ = np.arange(10 * 16_000) / 16_000
    add("noise", "noise", rng.integers(-32768, 32768, len(time_)).astype(np.int16), 16_000)
    add("silence", "silence", np.zeros(len(time_), dtype=np.int16), 16_000)
    square = np.where(np.sin(2 * np.pi * 440 * time_) >= 0, 12_000, -12_000)
    add("square wave", "square", square.astype(np.int16), 16_000)
    return sets


def count_samples(paths: Sequence[Path]) -> int:
    """Return the samples of all channels of all files."""
    infos = [soundfile.info(path) for path in paths]
    return sum(info.frames * info.channels for info in infos)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_program(
    name: str, paths: list[Path], folder: Path, encode: list[str], decode: list[str], suffix: str
) -> Row:
    """Measure a program that compresses one file per call; {in} and {out} are the files."""
    packed = [folder / f"{path.stem}{suffix}" for path in paths]
    restored = [folder / f"{path.stem}.restored.wav" for path in paths]

    def call(command: list[str], sources: list[Path], targets: list[Path]) -> None:
        for source, target in zip(sources, targets, strict=True):
            filled = [part.format(**{"in": source, "out": target}) for part in command]
            subprocess.run(filled, check=True, capture_output=True)

    encode_seconds = timed(lambda: call(encode, paths, packed))
    decode_seconds = timed(lambda: call(decode, packed, restored))
    for path, copy in zip(paths, restored, strict=True):
        assert np.array_equal(soundfile.read(path)[0], soundfile.read(copy)[0])
    size, samples = sum(path.stat().st_size for path in packed), count_samples(paths)
    bits = 8 * size / samples
    return Row("", name, len(paths), samples, size, bits, encode_seconds, decode_seconds)


PROGRAMS = {
    "flac -8": (
        ["flac", "-8", "--no-padding", "-s", "-f", "-o", "{out}", "{in}"],
        ["flac", "-d", "-s", "-f", "-o", "{out}", "{in}"],
        ".flac",
    ),
    "wavpack -hhx6": (
        ["wavpack", "-hhx6", "-q", "-y", "{in}", "-o", "{out}"],
        ["wvunpack", "-q", "-y", "{in}", "-o", "{out}"],
        ".wv",
    ),
    "zstd -19": (
        ["zstd", "-19", "-q", "-f", "{in}", "-o", "{out}"],
        ["zstd", "-d", "-q", "-f", "{in}", "-o", "{out}"],
        ".zst",
    ),
}


def measure_ours(name: str, coder: CountingCoder, paths: list[Path], folder: Path) -> Row:
    """Compress and decompress all files in one call each; check that they are equal."""
    coder.total = CodedBits(0, 0.0, 0.0, 0)
    packed = [folder / f"{path.stem}.wnc" for path in paths]
    restored = [folder / f"{path.stem}.wav" for path in paths]

    def tasks(sources: list[Path], targets: list[Path]) -> list[FileTask]:
        pairs = zip(sources, targets, strict=True)
        return [FileTask(source, target, str(source), str(target)) for source, target in pairs]

    settings = CompressionSettings(verify=False, overwrite=True)
    start = time.perf_counter()
    results = compress_files(tasks(paths, packed), coder, settings)
    middle = time.perf_counter()
    back = decompress_files(tasks(packed, restored), lambda sha256: coder, overwrite=True)
    end = time.perf_counter()
    assert all(isinstance(result, CompressedFile) for result in results), results
    assert all(isinstance(result, DecodedFile) for result in back), back
    for path, copy in zip(paths, restored, strict=True):
        assert path.read_bytes() == copy.read_bytes()
    size, samples = sum(path.stat().st_size for path in packed), count_samples(paths)
    total = coder.total
    counted = max(1, total.samples)
    return Row(
        "",
        name,
        len(paths),
        samples,
        size,
        8 * size / samples,
        middle - start,
        end - middle,
        total.network_bits / counted,
        total.coded_bits / counted,
    )


def measure_speed(coder: NetworkBlockCoder) -> dict[str, float]:
    """Return times real time at 8 kHz, on one core: medians of 5 runs."""
    rng = np.random.default_rng(0)
    n = SPEED_SECONDS * 8000
    wave = 3000 * np.sin(np.arange(n) / 20) + rng.normal(0, 100, (64, n))
    results = {}
    for streams in (1, 16, 64):
        blocks = [Block(row[None].astype(np.int32), 16) for row in wave[:streams]]
        payloads = coder.encode(blocks)
        forms = [block.form for block in blocks]
        seconds = {
            "encode": [timed(lambda b=blocks: coder.encode(b)) for _ in range(RUNS)],
            "decode": [timed(lambda p=payloads, f=forms: coder.decode(p, f)) for _ in range(RUNS)],
        }
        for way, values in seconds.items():
            rate = streams * SPEED_SECONDS / statistics.median(values)
            results[f"{way} {streams} streams"] = round(rate, 2)
            print(f"{way}, {streams} streams: {rate:.1f} times real time at 8 kHz", flush=True)
    return results


def print_row(row: Row) -> None:
    """Print one row of the table."""
    print(
        f"{row.recordings:12} {row.system:14} {row.files:4} files {row.bytes:12,} bytes "
        f"{row.bits_per_sample:7.3f} bits {row.encode_seconds:8.2f} s {row.decode_seconds:8.2f} s"
        + (
            f"  streams {row.coded_bits:.3f}, network {row.network_bits:.3f}"
            if row.coded_bits
            else ""
        ),
        flush=True,
    )


def measure_sets(data: Path, folder: Path, compressor: str) -> list[Row]:
    """Return all rows."""
    coders = {
        name: load_counting(compressor, adapts)
        for name, adapts in (("wavenet", True), ("network", False))
    }
    coders["wavenet"].encode([Block(np.zeros((1, 9), np.int32) + 1, 16)])  # compile
    rows = []
    for name, paths in write_sets(data, folder / "wav").items():
        work = folder / "work"
        for system, coder in coders.items():
            work.mkdir()
            rows.append(measure_ours(system, coder, paths, work))
            shutil.rmtree(work)
        for system, (encode, decode, suffix) in PROGRAMS.items():
            if shutil.which(encode[0]):
                work.mkdir()
                rows.append(measure_program(system, paths, work, encode, decode, suffix))
                shutil.rmtree(work)
        for index, row in enumerate(rows):
            if not row.recordings:
                rows[index] = Row(**{**asdict(row), "recordings": name})
                print_row(rows[index])
    return rows


def load_counting(compressor: str, adapts: bool) -> CountingCoder:
    """Return a compressor that counts bits, on one core."""
    coder = load_compressor(compressor, adapts)
    coder.__class__ = CountingCoder
    assert isinstance(coder, CountingCoder)
    return coder


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the recordings")
    parser.add_argument("--compressor", default=DEFAULT)
    parser.add_argument("--speed", action="store_true", help="measure many streams and one")
    options = parser.parse_args()
    document: dict[str, object] = {"processor": processor_name()}
    if options.data is not None:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure_sets(options.data, Path(folder), options.compressor)
        document["rows"] = [asdict(row) for row in rows]
    if options.speed:
        coder = load_compressor(options.compressor, threads=1)
        document["times_real_time"] = measure_speed(coder)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
