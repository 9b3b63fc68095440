"""Files of codes: audio files whose samples are discrete codes, such as those of an autoencoder.

The codes 0 to 2**bits - 1 are those of a mu-law codec, which decodes and encodes them exactly up to
9 bits, because a sample of the file has 16 bits. So a sequence of codes is a WAV file, which
training, scores and generation read and write like any recording. Its sample rate has no meaning.
Called by `wavenet autoencoder` and `wavenet images`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from audio_utils import io
from wavenet.codec import MuLawCodec
from wavenet.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

NOMINAL_RATE = 8000  # Hz, in the header of the files
MAX_ROUNDING = 4e-5  # of a 16-bit sample: half a step, and a whole step at full scale


def write_codes(path: Path, codes: "Tensor", bits: int, overwrite: bool) -> None:
    """Write codes (T,), 0 to 2**bits - 1, as an audio file.

    Raises:
        AudioError: the file cannot be written.
    """
    io.write(path, MuLawCodec(bits=bits).decode(codes), NOMINAL_RATE, replace=overwrite)


def read_codes(path: Path, bits: int) -> "Tensor":
    """Read codes (T,) int64, 0 to 2**bits - 1.

    Raises:
        AudioError: the file cannot be read.
        DataError: its samples are not codes.
    """
    codec, waveform = MuLawCodec(bits=bits), io.read(path).waveform
    codes = codec.encode(waveform)
    if float((codec.decode(codes) - waveform).abs().max()) > MAX_ROUNDING:
        raise DataError(
            f"the samples of {path} are not the {codec.n_classes:,} codes of {bits} bits; "
            "use a file of codes, or of a model that was trained on such files"
        )
    return codes
