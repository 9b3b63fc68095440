"""Measure what byte-pair merging of codes does to the length and the bits of recordings.

    python benchmarks/byte_pair_merging.py recordings/ [--bits 8] [--codes 1000000]

Merges are learned on the training recordings of the recipe `digits`. Symbols of the test recordings
are then scored by a histogram and a bigram of symbols, fitted to the training recordings. Bits per
code are all bits of the symbols, divided by the number of codes, so rows can be compared. The last
line is one JSON document.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from wavenet.byte_pair_merging import Codes, Merge, encode, learn_merges, symbol_strings
from wavenet.codec import MuLawCodec
from wavenet.evaluation.baselines import Baseline, Bigram, Histogram
from wavenet.training.dataset import read_dataset
from wavenet.training.recipe import load_recipe
from wavenet.training.segmentation import TrainingClip
from wavenet.training.training_setup import RecipeOptions, apply_options

MERGES = (0, 64, 256, 1024)


def main() -> None:
    """Print a table and one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="recordings, named as in the recipe digits")
    parser.add_argument("--bits", type=int, default=8, help="of the mu-law codec")
    parser.add_argument("--codes", type=int, default=1_000_000, help="of the training recordings")
    options = parser.parse_args()
    recipe = apply_options(load_recipe("digits"), RecipeOptions(data=options.folder))
    dataset = read_dataset(recipe.data, recipe.audio.sample_rate, recipe.model)
    codec = MuLawCodec(bits=options.bits)
    training = encode_clips(dataset.train, codec, options.codes)
    test = encode_clips(dataset.test, codec)
    merges = learn_merges(training, codec.n_classes, max(MERGES))
    print("merges  codes/symbol  histogram  bigram   longest symbol")
    rows = []
    for count in MERGES:
        row = measure(training, test, codec, merges[:count])
        rows.append(row)
        print(
            f"{row['merges']:6} {row['codes_per_symbol']:13.3f} {row['histogram']:10.3f} "
            f"{row['bigram']:7.3f} {row['longest']:16}"
        )
    print(json.dumps({"bits": options.bits, "rows": rows}))


def encode_clips(
    clips: Sequence[TrainingClip], codec: MuLawCodec, limit: int | None = None
) -> list[Codes]:
    """Return the codes of clips, evenly spaced over all clips if a limit is given."""
    total = sum(clip.samples for clip in clips)
    step = 1 if limit is None else max(1, total // limit)
    return [codec.encode(clip.waveform).numpy() for clip in clips[::step]]


def measure(
    training: Sequence[Codes], test: Sequence[Codes], codec: MuLawCodec, merges: Sequence[Merge]
) -> dict[str, Any]:
    """Return codes per symbol and bits per code of the test recordings."""
    n_symbols = codec.n_classes + len(merges)
    fitted, scored = (
        [encode(codes, merges, codec.n_classes) for codes in part] for part in (training, test)
    )
    codes = sum(map(len, test))
    baselines: dict[str, Baseline] = {
        "histogram": Histogram(fitted, n_symbols),
        "bigram": Bigram(fitted, n_symbols, codec.silence_code),
    }
    bits = {
        name: float(np.sum([baseline.bits(symbols).sum() for symbols in scored])) / codes
        for name, baseline in baselines.items()
    }
    longest = max(map(len, symbol_strings(merges, codec.n_classes)))
    return {
        "merges": len(merges),
        "codes_per_symbol": codes / sum(map(len, scored)),
        "longest": longest,
        **bits,
    }


if __name__ == "__main__":
    main()
