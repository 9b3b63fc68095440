"""Audio files made byte by byte, and a small block coder, for the tests of compression."""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavenet.compression.blocks import Block, BlockForm
from wavenet.compression.file_task import FileTask
from wavenet.errors import CompressedFileError

SHA256 = hashlib.sha256(b"deltas").hexdigest()


class DeltaCoder:
    """Compresses the differences of consecutive samples with zlib.

    Attributes:
        windows: number of streams of each call of `encode`.
    """

    name, sha256, profile = "deltas", SHA256, "exact-1"

    def __init__(self) -> None:
        self.windows: list[int] = []

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        self.windows.append(sum(block.samples.shape[0] for block in blocks))
        deltas = (np.diff(b.samples, axis=1, prepend=0).astype("<i4") for b in blocks)
        return [zlib.compress(delta.tobytes()) for delta in deltas]

    def decode(
        self, payloads: Sequence[bytes], forms: Sequence[BlockForm]
    ) -> list[NDArray[np.int32]]:
        return [self._decode(p, f) for p, f in zip(payloads, forms, strict=True)]

    def _decode(self, payload: bytes, form: BlockForm) -> NDArray[np.int32]:
        size = 4 * form.channels * form.samples
        try:
            data = zlib.decompressobj().decompress(payload, size)
        except zlib.error as error:
            raise CompressedFileError(f"zlib: {error}") from None
        if len(data) != size:
            raise CompressedFileError(f"{len(data)} bytes instead of {size}")
        deltas = np.frombuffer(data, "<i4").reshape(form.channels, form.samples)
        samples: NDArray[np.int32] = np.cumsum(deltas, axis=1, dtype=np.int32)
        return samples


def find_deltas(sha256: str) -> DeltaCoder:
    """Return the coder, as `load_block_coder`."""
    if sha256 != SHA256[:32]:
        raise CompressedFileError(f"no coder {sha256[:8]}")
    return DeltaCoder()


def make_samples(channels: int, samples: int, bits: int = 16, seed: int = 0) -> NDArray[np.int64]:
    """Return a sine with some noise, (channels, samples), within full scale."""
    rng = np.random.default_rng(seed)
    scale = 2 ** (bits - 1)
    wave = 0.4 * scale * np.sin(np.arange(samples) / 20 + np.arange(channels)[:, None])
    noisy = wave + rng.normal(0, scale / 4000, (channels, samples))
    return np.clip(np.rint(noisy), -scale, scale - 1).astype(np.int64)


def pcm_bytes(samples: NDArray[Any], bits: int, order: str = "<", unsigned: bool = False) -> bytes:
    """Return interleaved samples; written independently of the package."""
    values = samples.T.reshape(-1) + (128 if unsigned else 0)
    if bits == 16:
        return struct.pack(f"{order}{len(values)}h", *values.tolist())
    byte_order = "little" if order == "<" else "big"
    return b"".join(int(v).to_bytes(bits // 8, byte_order, signed=not unsigned) for v in values)


def chunk(name: bytes, body: bytes, order: str = "<", length: int | None = None) -> bytes:
    """Return a chunk with its pad byte."""
    size = struct.pack(order + "I", len(body) if length is None else length)
    return name + size + body + bytes(len(body) % 2)


def make_wav(
    samples: NDArray[Any],
    bits: int = 16,
    rate: int = 16_000,
    before: bytes = b"",
    after: bytes = b"",
    data_length: int | None = None,
    riff_length: int | None = None,
    fmt: bytes | None = None,
) -> bytes:
    """Return a WAV file.

    Args:
        before, after: chunks before and after the samples.
        data_length, riff_length: sizes in the header; by default the correct ones.
        fmt: the format chunk; by default that of PCM.
    """
    channels = samples.shape[0]
    block = channels * bits // 8
    if fmt is None:
        fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * block, block, bits)
    data = pcm_bytes(samples, bits, "<", bits == 8)
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + chunk(b"data", data, length=data_length) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff_length is None else riff_length) + body


def extensible_format(channels: int, bits: int, rate: int = 16_000, valid: int = 0) -> bytes:
    """Return the format chunk of WAVE_FORMAT_EXTENSIBLE."""
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", 0xFFFE, channels, rate, rate * block, block, bits)
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    return head + struct.pack("<HHI", 22, valid or bits, 0) + guid


def make_aiff(
    samples: NDArray[Any],
    bits: int = 16,
    rate: int = 16_000,
    codec: bytes | None = None,
    after: bytes = b"",
) -> bytes:
    """Return an AIFF file, or with a codec an AIFF-C file."""
    channels, count = samples.shape
    exponent = rate.bit_length() - 1
    extended = struct.pack(">HQ", 16383 + exponent, rate << (63 - exponent))
    common = struct.pack(">HIH", channels, count, bits) + extended
    if codec is not None:
        common += codec + b"\x00\x00"
    data = bytes(8) + pcm_bytes(samples, bits, "<" if codec == b"sowt" else ">")
    form = b"AIFF" if codec is None else b"AIFC"
    body = form + chunk(b"COMM", common, ">") + chunk(b"SSND", data, ">") + after
    return b"FORM" + struct.pack(">I", len(body)) + body


def file_task(source: Path, target: Path | None) -> FileTask:
    """Return the task of two files."""
    return FileTask(source, target, str(source), str(target))
