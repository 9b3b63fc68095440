"""The header of a compressed file: a strict config, stored as compressed JSON.

Input and output: a `CompressedHeader` and its bytes, whose expanded size is limited. Called by
`compressed_file`.
"""

import zlib
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wavenet.compression.pcm_container import MAX_CHANNELS, MAX_RATE, ContainerKind
from wavenet.config import StrictConfig, parse_config
from wavenet.errors import CompressedFileError, ConfigError

MAX_BLOCK_VALUES = 1 << 22  # samples of all channels of one block
# per channel: the coder computes 16 channels at a time, at 8 bytes per sample
MAX_BLOCK_SAMPLES = 1 << 20
MAX_BLOCK_SECONDS = 10
# At low sample rates a block may last longer, because each has its own overhead.
SHORT_BLOCK = 1 << 16
MAX_SAMPLES = 1 << 48  # per channel
MAX_HEADER_BYTES = 1 << 14  # expanded
WEIGHTS_BYTES = 16  # of the SHA-256 of the weights
# Most of a header is the same in all files. Part of the format: it must not change.
_DICTIONARY_START = (
    b'"channels":1,"bits":8,"container":"sowt","container":"aiff","container":"none",'
    b'"container":"wav","samples":null}'
    b'"sample_rate":96000,"channels":2,"bits":24,"block_samples":480000,'
    b'"sample_rate":22050,"channels":1,"bits":16,"block_samples":110250,'
    b'"sample_rate":24000,"channels":1,"bits":16,"block_samples":120000,'
    b'"sample_rate":48000,"channels":1,"bits":16,"block_samples":240000,'
    b'"sample_rate":48000,"channels":2,"bits":24,"block_samples":240000,'
    b'"sample_rate":44100,"channels":1,"bits":16,"block_samples":220500,'
    b'"sample_rate":44100,"channels":2,"bits":16,"block_samples":220500,'
    b'"sample_rate":8000,"channels":1,"bits":16,"block_samples":40000,'
    b'{"format_version":1,"coder":null,{"format_version":1,"coder":{"name":"lossless","sha256":"'
)
# between both are the digits of the SHA-256
_DICTIONARY_END = (
    b'","profile":"exact-1"},"sample_rate":16000,"channels":1,"bits":16,"block_samples":80000,'
    b'"container":"plain_wav","file_name":null,"samples":'
)

ShortText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class CoderIdentity(StrictConfig):
    """The coder that encoded the blocks; only the same one can decode them.

    Attributes:
        name: of the coder.
        sha256: the first 32 hexadecimal digits of the SHA-256 of its weights.
        profile: of its arithmetic.
    """

    name: ShortText
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    profile: ShortText


class CompressedHeader(StrictConfig):
    """What a compressed file declares before its blocks.

    Attributes:
        format_version: 1.
        coder: of the blocks; None if all are stored raw.
        sample_rate: Hz.
        channels: of each block.
        bits: per sample.
        block_samples: samples per channel of every block but the last, which may be shorter.
        container: of the original, whose bytes around the samples are kept.
        file_name: of the original, without folders; None if it is not stored.
        samples: per channel; None if it was not known, as from a pipe.
    """

    format_version: Literal[1]
    coder: CoderIdentity | None
    sample_rate: Annotated[int, Field(ge=1, le=MAX_RATE)]
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
    bits: Literal[8, 16, 24]
    block_samples: Annotated[int, Field(ge=1, le=MAX_BLOCK_VALUES)]
    container: ContainerKind
    file_name: Annotated[str, Field(min_length=1, max_length=255)] | None
    samples: Annotated[int, Field(ge=0, le=MAX_SAMPLES)] | None

    @model_validator(mode="after")
    def _check_block(self) -> Self:
        longest = longest_block(self.sample_rate, self.channels)
        if self.block_samples > longest:
            raise ValueError(
                f"block_samples must be at most {longest:,} at {self.sample_rate:,} Hz with "
                f"{self.channels} channels"
            )
        return self

    @model_validator(mode="after")
    def _check_file_name(self) -> Self:
        name = self.file_name
        if name is not None and (
            name.startswith(".") or not name.isprintable() or any(c in name for c in '/\\:*?"<>|')
        ):
            raise ValueError("file_name must be a plain file name without folders")
        return self


def longest_block(sample_rate: int, channels: int) -> int:
    """Return the largest number of samples per channel of a block."""
    longest = max(MAX_BLOCK_SECONDS * sample_rate, SHORT_BLOCK)
    return max(1, min(longest, MAX_BLOCK_SAMPLES, MAX_BLOCK_VALUES // channels))


def pack_header(header: CompressedHeader) -> bytes:
    """Return a header as compressed JSON, after the bytes of the SHA-256 of the weights."""
    weights = bytes.fromhex(header.coder.sha256) if header.coder else bytes(WEIGHTS_BYTES)
    return weights + deflate(header.model_dump_json().encode(), header_dictionary(weights))


def unpack_header(data: bytes, name: str) -> CompressedHeader:
    """Read a header.

    Args:
        data: of `pack_header`.
        name: of the file, for messages.
    Raises:
        CompressedFileError: it is damaged, too large or not valid.
    """
    weights, packed = data[:WEIGHTS_BYTES], data[WEIGHTS_BYTES:]
    text = inflate(packed, MAX_HEADER_BYTES, header_dictionary(weights))
    if text is None:
        raise CompressedFileError(f"{name} is damaged: its header cannot be expanded")
    try:
        return parse_config(CompressedHeader, text, f"{name}: its header")
    except ConfigError as error:
        raise CompressedFileError(str(error)) from None


def header_dictionary(weights: bytes) -> bytes:
    """Return the preset dictionary of a header.

    Args:
        weights: the first 16 bytes of the SHA-256 of the weights, so that its digits, which no
            program can compress, need no further bytes.
    """
    return _DICTIONARY_START + weights.hex().encode() + _DICTIONARY_END


def deflate(data: bytes, dictionary: bytes = b"") -> bytes:
    """Return data as a raw deflate stream (RFC 1951), which begins with a preset dictionary."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return compressor.compress(data) + compressor.flush()


def inflate(data: bytes, limit: int, dictionary: bytes = b"") -> bytes | None:
    """Return the data of `deflate`; None if it is damaged or longer than a limit."""
    decompressor = zlib.decompressobj(-15, dictionary)
    try:
        found = decompressor.decompress(data, limit + 1)
    except zlib.error:
        return None
    is_whole = decompressor.eof and not decompressor.unused_data
    return found if is_whole and len(found) <= limit else None
