"""Compressed files that all later versions decode, and the SHA-256 of what they restore.

python -m tests.compression.golden_files            without the network
python -m tests.compression.golden_files lossless   with the network of the compressor lossless

Both write files of tests/golden/compressed again. After the release of a format version this is
allowed only for a new version, whose files have other names.
"""

import hashlib
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.compression.audio_files import (
    DeltaCoder,
    chunk,
    extensible_format,
    make_aiff,
    make_samples,
    make_wav,
)
from wavenet.compression.blocks import BlockCoder
from wavenet.compression.compress_files import CompressedFile, CompressionSettings, compress_files
from wavenet.compression.compressor_folder import load_compressor
from wavenet.compression.file_task import FileTask

FOLDER = Path(__file__).parents[2] / "tests/golden/compressed"
RESTORED = FOLDER / "restored.json"
NETWORK = "lossless"  # begins the names of the files with the network

STEREO = make_samples(2, 150)
RAMPS = np.arange(600).reshape(2, 300)
WAVE = np.rint(100 * np.sin(np.arange(40_000) / 20)).astype(np.int64)[None]


@dataclass(frozen=True)
class GoldenFile:
    """How a file is made.

    Attributes:
        original: the file that is compressed.
        coder: of its blocks; None: stored raw.
        settings: of `CompressionSettings`.
    """

    original: bytes
    coder: BlockCoder | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def compress(self) -> bytes:
        """Return the compressed file, which is verified."""
        packed = io.BytesIO()
        task = FileTask(io.BytesIO(self.original), packed, "source", "packed")
        settings = CompressionSettings(**self.settings)
        (result,) = compress_files([task], self.coder, settings)
        assert isinstance(result, CompressedFile), result
        return packed.getvalue()


def list_plain() -> dict[str, GoldenFile]:
    """Return the files without the network, by name."""
    bext, title = chunk(b"bext", b"somebody"), chunk(b"LIST", b"abc")
    unknown = 0xFFFF_FFFF
    stereo, deltas = make_wav(STEREO), DeltaCoder()
    return {
        "wav_16_stereo": GoldenFile(stereo),
        "wav_8_chunks": GoldenFile(make_wav(make_samples(1, 201, 8), 8, before=bext, after=title)),
        "wav_24_extensible": GoldenFile(
            make_wav(make_samples(3, 90, 24), 24, 96_000, fmt=extensible_format(3, 24, 96_000))
        ),
        "aiff_24": GoldenFile(make_aiff(make_samples(1, 99, 24), 24, 44_100)),
        "aifc_sowt": GoldenFile(make_aiff(STEREO, codec=b"sowt")),
        "samples_only": GoldenFile(stereo, None, {"keep_metadata": False}),
        "empty": GoldenFile(make_wav(STEREO[:, :0])),
        "pipe_sizes": GoldenFile(make_wav(STEREO, data_length=unknown, riff_length=unknown)),
        "three_blocks": GoldenFile(make_wav(WAVE, 8, 8000), deltas, {"block_seconds": 2.1}),
        "coder_of_the_tests": GoldenFile(make_wav(RAMPS), deltas),
    }


def list_with_network() -> dict[str, GoldenFile]:
    """Return the files with the network of the compressor, by name."""
    coder, alone = load_compressor(NETWORK), load_compressor(NETWORK, adapts=False)
    mono, stereo = make_samples(1, 3000), make_samples(2, 1000, 24)
    # wasted bits, silence, and noise that is stored raw
    rng = np.random.default_rng(0)
    noise = rng.integers(-(2**15), 2**15, 700)
    mixed = np.stack([noise, np.zeros_like(noise), noise // 16 * 16])
    return {
        f"{NETWORK}_mono": GoldenFile(make_wav(mono), coder),
        f"{NETWORK}_alone": GoldenFile(make_wav(mono), alone),
        f"{NETWORK}_24_stereo": GoldenFile(make_wav(stereo, 24, 48_000), coder),
        f"{NETWORK}_8": GoldenFile(make_wav(make_samples(1, 2000, 8), 8, 8000), coder),
        f"{NETWORK}_mixed": GoldenFile(make_wav(mixed), coder),
        f"{NETWORK}_blocks": GoldenFile(
            make_wav(WAVE[:, :20_000], 8, 8000), coder, {"block_seconds": 0.1}
        ),
    }


def read_restored() -> dict[str, str]:
    """Return the SHA-256 of the restored files by name."""
    found: dict[str, str] = json.loads(RESTORED.read_text(encoding="utf-8"))
    return found


def main(with_network: bool) -> None:
    """Write one kind of files again; the others are kept."""
    restored = read_restored() if RESTORED.exists() else {}
    for name in [n for n in restored if n.startswith(NETWORK) == with_network]:
        (FOLDER / name).unlink(missing_ok=True)
        del restored[name]
    files = list_with_network() if with_network else list_plain()
    for name, file in files.items():
        (FOLDER / f"{name}.wnc").write_bytes(file.compress())
        restored[f"{name}.wnc"] = hashlib.sha256(file.original).hexdigest()
    RESTORED.write_text(json.dumps(restored, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] == [NETWORK])
