"""Measure what the codec alone does to recordings, by bits and coefficient of pre-emphasis.

    python benchmarks/pre_emphasis.py recordings/ --rate 16000

No model is used: the recordings are encoded and decoded. The quality is therefore the best one that
a model with this codec can reach. PESQ is that of the wide band from a rate of 16,000 Hz on. The
last line is one JSON document.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

from torch import Tensor

from audio_utils import io, metrics
from wavenet.bench.machine import describe_machine
from wavenet.codec import MuLawCodec

BITS = (8, 9, 10)
COEFFICIENTS = (0.0, 0.5, 0.7, 0.85, 0.95)
PEAK = 0.8  # of every recording


def main() -> None:
    """Print a table and one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="recordings")
    parser.add_argument("--rate", type=int, default=16_000, help="Hz; 8000 or 16000")
    options = parser.parse_args()
    waveforms = [
        io.read(path, options.rate).waveform
        for path in sorted(options.folder.iterdir())
        if path.suffix in (".wav", ".flac")
    ]
    waveforms = [waveform * (PEAK / waveform.abs().max()) for waveform in waveforms]
    print("bits  pre-emphasis  SNR, dB  PESQ   STOI")
    rows = []
    for bits in BITS:
        for coefficient in COEFFICIENTS:
            row = measure(MuLawCodec(bits=bits, pre_emphasis=coefficient), waveforms, options.rate)
            rows.append(row)
            print(
                f"{bits:4} {coefficient:13g} {row['snr']:8.1f} {row['pesq']:5.2f} "
                f"{row['stoi']:6.4f}"
            )
    print(json.dumps({"machine": describe_machine(), "recordings": len(waveforms), "rows": rows}))


def measure(codec: MuLawCodec, waveforms: list[Tensor], rate: int) -> dict[str, float]:
    """Return the mean quality of encoded and decoded recordings."""
    pairs = [(waveform, codec.decode(codec.encode(waveform))) for waveform in waveforms]
    return {
        "bits": codec.bits,
        "pre_emphasis": codec.pre_emphasis,
        "snr": fmean(metrics.snr(*pair) for pair in pairs),
        "pesq": fmean(metrics.pesq(*pair, rate, wide_band=rate >= 16_000) for pair in pairs),
        "stoi": fmean(metrics.stoi(*pair, rate) for pair in pairs),
    }


if __name__ == "__main__":
    main()
