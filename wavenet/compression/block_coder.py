"""Blocks of samples to bytes and back, by the network of a compressor.

Input: blocks of any shapes, as `blocks.BlockCoder` describes. Output: one payload per block. Every
channel is a stream. The first channel is coded by itself, the others with the first as reference.
16 streams are coded together, the longest first, and groups of 16 in threads.

A payload begins with one byte: whether adaptive predictors take part. Then it has, per channel: one
byte, the bits that are zero in all samples (wasted bits) plus how the stream is stored; the number
of its bytes (LEB128), except for a stream without any bit; its bytes. A stream is stored as the
shortest of three: coded by the network, deflated (which is best for exact repetitions), or raw.
`docs/reference/compressed-format.md` describes it.

Called by `block_windows`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wavenet.compression.blocks import Block, BlockForm
from wavenet.compression.compressed_file import encode_number, parse_numbers
from wavenet.compression.compressed_header import deflate, inflate
from wavenet.compression.compression_network import CompressionNetwork
from wavenet.compression.lane_kernels import LANES
from wavenet.compression.network_step import StepWeights, pack_weights
from wavenet.compression.pcm_samples import SampleFormat, pack_samples, unpack_samples
from wavenet.compression.stream_coder import EncodedStream, Stream, decode_streams, encode_streams
from wavenet.devices import available_cores
from wavenet.errors import CompressedFileError

PROFILE = "exact-1"
"""The arithmetic of `stream_coder`; a change of any of its numbers needs a new name."""
NETWORK_ALONE, ADAPTIVE = 0, 1  # first byte of a payload
CODED, RAW, DEFLATED = 0, 64, 128  # how a stream is stored
_BITS_MASK = 63
_NUMBER_BYTES = 9  # of the longest LEB128

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CodedBits:
    """What coded blocks took, for reports.

    Attributes:
        samples: that the network predicted.
        network_bits: of these samples, under the network alone.
        mixture_bits: under the mixture with adaptive predictors.
        coded_bits: that were written for them.
    """

    samples: int
    network_bits: float
    mixture_bits: float
    coded_bits: int


class NetworkBlockCoder:
    """Codes blocks by a network; a `BlockCoder`."""

    def __init__(
        self,
        network: CompressionNetwork,
        name: str,
        sha256: str,
        adapts: bool = True,
        threads: int | None = None,
    ) -> None:
        """Prepare the network.

        Args:
            sha256: of the file of its weights.
            adapts: whether adaptive predictors take part in what `encode` writes.
            threads: None for all cores.
        """
        self.name, self.sha256 = name, sha256
        self.profile = PROFILE
        self._adapts = adapts
        self._weights: StepWeights = pack_weights(network)
        self._threads = threads or available_cores()

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        """Return one payload per block; it is never longer than the samples by more than 5 %."""
        return self.encode_and_count(blocks)[0]

    def encode_and_count(self, blocks: Sequence[Block]) -> tuple[list[bytes], CodedBits]:
        """Return the payloads, and the bits of all samples that the network predicted."""
        streams = [_streams_of(block, self._adapts) for block in blocks]
        flat = [stream for channels in streams for stream in channels]
        encoded = self._map(self._encode_group, flat, [len(stream.samples) for stream in flat])
        results = iter(encoded)
        payloads, counted = [], []
        for block, channels in zip(blocks, streams, strict=True):
            payload = bytearray([ADAPTIVE if self._adapts else NETWORK_ALONE])
            for stream in channels:
                result = next(results)
                _append_stream(payload, stream, block.bits, result)
                if result.data is not None:
                    counted.append((len(stream.samples), result, 8 * len(result.data)))
            payloads.append(bytes(payload))
        bits = CodedBits(
            sum(samples for samples, _, _ in counted),
            sum(result.network_bits for _, result, _ in counted),
            sum(result.mixture_bits for _, result, _ in counted),
            sum(coded for _, _, coded in counted),
        )
        return payloads, bits

    def decode(
        self, payloads: Sequence[bytes], forms: Sequence[BlockForm]
    ) -> list[NDArray[np.int32]]:
        """Return the samples of each payload, (channels, samples).

        Raises:
            CompressedFileError: a payload does not have the form of a payload.
        """
        parsed = [_parse(payload, form) for payload, form in zip(payloads, forms, strict=True)]
        first = self._decode_channels([channels[0] for channels in parsed], [None] * len(parsed))
        others = [channel for channels in parsed for channel in channels[1:]]
        references = [
            known for known, channels in zip(first, parsed, strict=True) for _ in channels[1:]
        ]
        rest = iter(self._decode_channels(others, references))
        return [
            np.stack(
                [known << channels[0].wasted]
                + [next(rest) << channel.wasted for channel in channels[1:]]
            )
            for known, channels in zip(first, parsed, strict=True)
        ]

    def _decode_channels(
        self,
        channels: Sequence["_CodedChannel"],
        references: Sequence[NDArray[np.int32] | None],
    ) -> list[NDArray[np.int32]]:
        """Return the samples of channels without their wasted bits."""
        jobs = [
            (channel, channel.stream(reference))
            for channel, reference in zip(channels, references, strict=True)
        ]
        return self._map(self._decode_group, jobs, [channel.samples for channel in channels])

    def _encode_group(self, streams: Sequence[Stream]) -> list[EncodedStream]:
        coded = [stream for stream in streams if stream.bits > 0]
        results = iter(encode_streams(coded, self._weights) if coded else ())
        silent = EncodedStream(b"", 0.0, 0.0)
        return [next(results) if stream.bits > 0 else silent for stream in streams]

    def _decode_group(
        self, jobs: Sequence[tuple["_CodedChannel", Stream]]
    ) -> list[NDArray[np.int32]]:
        coded = [(c.data, stream) for c, stream in jobs if c.known is None]
        data, streams = [d for d, _ in coded], [stream for _, stream in coded]
        decoded = iter(decode_streams(data, streams, self._weights) if coded else ())
        return [next(decoded) if c.known is None else c.known for c, _ in jobs]

    def _map(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        items: Sequence[Item],
        lengths: Sequence[int],
    ) -> list[Result]:
        """Apply `work` to groups of 16 items, long ones together, and return results in order."""
        order = sorted(range(len(items)), key=lambda index: -lengths[index])
        groups = [order[first : first + LANES] for first in range(0, len(order), LANES)]
        results: dict[int, Result] = {}

        def run(group: list[int]) -> Sequence[Result]:
            return work([items[index] for index in group])

        if self._threads == 1 or len(groups) < 2:
            done = [run(group) for group in groups]
        else:
            with ThreadPoolExecutor(min(self._threads, len(groups))) as pool:
                try:
                    done = list(pool.map(run, groups))
                except BaseException:
                    # Ctrl-C does not wait for groups that have not begun
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        for group, found in zip(groups, done, strict=True):
            results.update(zip(group, found, strict=True))
        return [results[index] for index in range(len(items))]


@dataclass(frozen=True)
class _CodedChannel:
    """One channel of a payload.

    `bits`: without the wasted ones. `data`: of a coded stream. `known`: the samples without their
    wasted bits, if the stream is not coded.
    """

    samples: int
    bits: int
    wasted: int
    adapts: bool
    data: bytes
    known: NDArray[np.int32] | None

    def stream(self, reference: NDArray[np.int32] | None) -> Stream:
        """Return the stream to decode."""
        return Stream(np.zeros(self.samples, np.int32), self.bits, reference, self.adapts)


def wasted_bits(samples: NDArray[np.int32], bits: int) -> int:
    """Return the number of lowest bits that are zero in all samples; `bits` for silence."""
    used = int(np.bitwise_or.reduce(samples)) if samples.size else 0
    return bits if used == 0 else min(bits, (used & -used).bit_length() - 1)


def _streams_of(block: Block, adapts: bool) -> list[Stream]:
    """Return the channels of a block as streams without wasted bits."""
    streams: list[Stream] = []
    for channel in block.samples:
        wasted = wasted_bits(channel, block.bits)
        reference = streams[0].samples if streams else None
        streams.append(Stream(channel >> wasted, block.bits - wasted, reference, adapts))
    return streams


def _append_stream(payload: bytearray, stream: Stream, bits: int, encoded: EncodedStream) -> None:
    """Append a stream in the shortest of its forms."""
    wasted = bits - stream.bits
    if stream.bits == 0:
        payload.append(wasted)
        return
    raw = pack_samples((stream.samples << wasted)[np.newaxis], SampleFormat(bits))
    forms = [(RAW, raw), (DEFLATED, deflate(raw))]
    if encoded.data is not None:
        forms.insert(0, (CODED, encoded.data))
    kind, data = min(forms, key=lambda form: len(form[1]))
    payload.append(wasted + kind)
    payload += encode_number(len(data)) + data


def _parse(payload: bytes, form: BlockForm) -> list[_CodedChannel]:
    """Return the channels of a payload.

    Raises:
        CompressedFileError: it is too short or too long, or has impossible numbers.
    """
    if payload[:1] not in (bytes([NETWORK_ALONE]), bytes([ADAPTIVE])):
        raise CompressedFileError(f"a coded block begins with {payload[:1]!r}")
    adapts, channels, at = payload[0] == ADAPTIVE, [], 1
    for _ in range(form.channels):
        if at >= len(payload):
            raise CompressedFileError("a coded block ends too early")
        wasted, kind, at = payload[at] & _BITS_MASK, payload[at] & ~_BITS_MASK, at + 1
        bits = form.bits - wasted
        if bits < 0 or kind not in (CODED, RAW, DEFLATED) or (bits == 0 and kind != CODED):
            raise CompressedFileError(f"a coded block has an unknown form of stream, {kind}")
        data, at = _stream_bytes(payload, at) if bits > 0 else (b"", at)
        known = np.zeros(form.samples, np.int32) if bits == 0 else _plain(kind, data, form, wasted)
        channels.append(_CodedChannel(form.samples, bits, wasted, adapts, data, known))
    if at != len(payload):
        raise CompressedFileError("a coded block has more bytes than its streams")
    return channels


def _stream_bytes(payload: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes of the stream at a place, and the place after it."""
    number = parse_numbers(payload[at : at + _NUMBER_BYTES], 1)
    if number is None:
        raise CompressedFileError("a coded block has a stream of unknown length")
    (size,), used = number
    end = at + used + size
    if end > len(payload):
        raise CompressedFileError(f"a coded block has a stream of {size:,} bytes")
    return payload[at + used : end], end


def _plain(kind: int, data: bytes, form: BlockForm, wasted: int) -> NDArray[np.int32] | None:
    """Return the samples, without wasted bits, of a stream that is not coded."""
    if kind == CODED:
        return None
    size = form.samples * form.bits // 8
    raw = data if kind == RAW else inflate(data, size)
    if raw is None or len(raw) != size:
        raise CompressedFileError("a coded block has a stream of another length")
    samples: NDArray[np.int32] = unpack_samples(raw, 1, SampleFormat(form.bits))[0] >> wasted
    return samples
