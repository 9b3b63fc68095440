"""Measure autoencoders with discrete codes, and models of their codes.

    python benchmarks/discrete_codes.py recordings/ --autoencoder runs/vector --out clips/ \
        --prior runs/vector runs/digit_codes/checkpoint

The recordings are those of the recipe `digits`. For each autoencoder, the test recordings are
encoded, decoded and made audible by the vocoder; for each prior, 120 clips are generated. Digits
are recognised by a network that is trained on the recordings for training, as in `wavenet evaluate
digits`. The first rows are the test recordings, as they are and through the vocoder alone. The last
line is one JSON document.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from audio_utils import io
from wavenet import checkpoint
from wavenet.autoencoder.autoencoder_folder import LoadedAutoencoder, load_autoencoder
from wavenet.autoencoder.code_sound import (
    decode_frames,
    encode_recording,
    generate_sounds,
    mel_of,
)
from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig
from wavenet.autoencoder.train_autoencoder import measure_autoencoder
from wavenet.checkpoint import Checkpoint
from wavenet.codec import MuLawCodec
from wavenet.evaluation.baselines import Bigram, Histogram
from wavenet.evaluation.bits_per_sample import MODEL_METHOD, score_recordings, summarise_bits
from wavenet.evaluation.label_evaluation import ClipEvaluator
from wavenet.evaluation.labelled_clips import (
    LabelledClip,
    generate_clips,
    plan_requests,
    to_labelled_clips,
)
from wavenet.sampling import SamplingConfig
from wavenet.training.dataset import Dataset, read_dataset
from wavenet.training.recipe import load_recipe
from wavenet.training.segmentation import TrainingClip
from wavenet.training.training_setup import RecipeOptions, apply_options

LABELS = ("digit", "speaker")
GENERATED = 120  # clips: two of each digit and speaker
SAVED = 10


class Bench:
    """The recordings, the vocoder and the classifiers, which all rows share."""

    def __init__(self, folder: str, vocoder: str, out: Path):
        recipe = apply_options(load_recipe("digits"), RecipeOptions(data=folder))
        self.vocoder, self.out = checkpoint.load(vocoder), out
        self.rate = self.vocoder.sample_rate
        self.dataset: Dataset = read_dataset(recipe.data, self.rate, self.vocoder.config.model)
        self.test = to_labelled_clips(self.dataset.test, LABELS)
        training = to_labelled_clips([*self.dataset.train, *self.dataset.validation], LABELS)
        self.evaluator = ClipEvaluator(training, self.test, self.rate)

    def recognised(self, name: str, clips: Sequence[LabelledClip]) -> dict[str, Any]:
        """Save the first clips; return the fraction of digits that the network recognises."""
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, clip in enumerate(clips[:SAVED]):
            labels = "_".join(clip.labels.values())
            path = folder / f"{number}_{labels}.wav"
            io.write(path, clip.waveform, self.rate, replace=True)
        compared = self.evaluator.compare(self.evaluator.measure(clips))
        accuracy = compared["accuracy"]["generated"]["cnn"]
        return {
            "name": name,
            "digit": accuracy["digit"]["fraction"],
            "interval": accuracy["digit"]["interval"],
            "speaker": accuracy["speaker"]["fraction"],
        }


def main() -> None:
    """Print one line per row and one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="recordings, named as in the recipe digits")
    parser.add_argument("--autoencoder", action="append", default=[], help="folder; repeatable")
    parser.add_argument(
        "--prior",
        action="append",
        nargs=2,
        default=[],
        metavar=("AUTOENCODER", "CHECKPOINT"),
        help="a model of the codes of an autoencoder; repeatable",
    )
    parser.add_argument("--vocoder", default="vocoder")
    parser.add_argument("--temperature", type=float, default=1.0, help="of the priors")
    parser.add_argument("--guidance", type=float, default=1.0, help="of the priors")
    parser.add_argument("--figure", type=Path, help="PNG of mel frames to write")
    parser.add_argument("--out", type=Path, default=Path("runs/discrete_codes"), help="for clips")
    options = parser.parse_args()
    bench = Bench(options.folder, options.vocoder, options.out)
    rows = [bench.recognised("recordings", bench.test), measure_vocoder(bench)]
    rows += [measure_codes(bench, load_autoencoder(folder)) for folder in options.autoencoder]
    sampling = SamplingConfig(temperature=options.temperature, guidance=options.guidance)
    for folder, prior in options.prior:
        rows.append(
            measure_prior(bench, load_autoencoder(folder), checkpoint.load(prior), sampling)
        )
    if options.figure:
        plot_frames(bench, [load_autoencoder(folder) for folder in options.autoencoder]).savefig(
            options.figure
        )
    for row in rows:
        print(" ".join(f"{name} {_text(value)}" for name, value in row.items()))
    print(json.dumps(rows))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def measure_vocoder(bench: Bench) -> dict[str, Any]:
    """Return the row of the vocoder with the frames of the test recordings."""
    config = bench.vocoder.config
    settings = AutoencoderConfig(
        name="none", sample_rate=bench.rate, hop=config.model.condition_hop, mel=mel_of(config)
    )
    frames = [clip.frame_features for clip in bench.dataset.test]
    sounds = generate_sounds(frames, settings, bench.vocoder)
    return bench.recognised("vocoder", with_sounds(bench.test, sounds))


def measure_codes(bench: Bench, loaded: LoadedAutoencoder) -> dict[str, Any]:
    """Return the row of an autoencoder: error, use of the codes, and recognised digits."""
    frames = [clip.frame_features for clip in bench.dataset.test]
    measures = measure_autoencoder(loaded.model, frames)
    decoded = [
        decode_frames(loaded.model, encode_recording(loaded.model, clip.waveform))
        for clip in bench.dataset.test
    ]
    sounds = generate_sounds(decoded, loaded.config, bench.vocoder)
    return {
        **bench.recognised(loaded.config.name, with_sounds(bench.test, sounds)),
        "codes_per_second": loaded.config.codes_per_second,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "error_db": measures.error_db,
        "perplexity": measures.perplexity,
        "used_codes": measures.used_codes,
    }


def measure_prior(
    bench: Bench, loaded: LoadedAutoencoder, prior: Checkpoint, sampling: SamplingConfig
) -> dict[str, Any]:
    """Return the row of a model of codes: bits per code, and digits of generated clips."""
    codec = MuLawCodec(bits=loaded.config.bits)
    training = [code_clip(loaded, codec, clip) for clip in bench.dataset.train]
    test = [code_clip(loaded, codec, clip) for clip in bench.dataset.test]
    codes = [codec.encode(clip.waveform).numpy() for clip in training]
    baselines = {
        "bigram": Bigram(codes, codec.n_classes, codec.silence_code),
        "histogram": Histogram(codes, codec.n_classes),
    }
    (summary,) = summarise_bits(list(score_recordings(prior, test, baselines, [])), [])
    requests = plan_requests(to_labelled_clips(training, LABELS), GENERATED, seed=0)
    clips = generate_clips(prior, requests, sampling).clips
    per_frame = loaded.config.codes_per_frame
    frames = []
    for clip in clips:
        found = codec.encode(clip.waveform)
        frames.append(decode_frames(loaded.model, found[: len(found) // per_frame * per_frame]))
    sounds = generate_sounds(frames, loaded.config, bench.vocoder)
    name = f"{loaded.config.name} {prior.config.model.architecture}"
    bits = summary["bits_per_sample"]
    return {
        **bench.recognised(name, with_sounds(clips, sounds)),
        "parameters": sum(p.numel() for p in prior.model.parameters()),
        "bits_per_code": bits,
        "bits_interval": summary["interval"],
        "bits_per_second": bits[MODEL_METHOD] * loaded.config.codes_per_second,
    }


def plot_frames(bench: Bench, autoencoders: Sequence[LoadedAutoencoder]) -> Figure:
    """Draw the mel frames of four test recordings, and of their codes in each autoencoder."""
    clips = bench.dataset.test[:: len(bench.dataset.test) // 4][:4]
    names = ["recording", *(loaded.config.name for loaded in autoencoders)]
    figure = Figure(figsize=(9, 1.5 * len(names)), layout="constrained", dpi=80)
    axes = figure.subplots(len(names), len(clips), squeeze=False)
    for column, clip in enumerate(clips):
        frames = clip.frame_features
        images = [frames]
        for loaded in autoencoders:
            images.append(
                decode_frames(loaded.model, encode_recording(loaded.model, clip.waveform))
            )
        for row, image in enumerate(images):
            low, high = float(frames.min()), float(frames.max())
            axes[row, column].imshow(image.T, origin="lower", aspect="auto", vmin=low, vmax=high)
            axes[row, column].set(xticks=[], yticks=[])
        axes[0, column].set_title(" ".join(str(clip.fields[name]) for name in LABELS))
    for row, name in enumerate(names):
        axes[row, 0].set_ylabel(name)
    return figure


def code_clip(loaded: LoadedAutoencoder, codec: MuLawCodec, clip: TrainingClip) -> TrainingClip:
    """Return a recording as the clip of its codes."""
    codes = codec.decode(encode_recording(loaded.model, clip.waveform))
    return replace(clip, waveform=codes, total_samples=len(codes), frame_features=torch.zeros(0, 0))


def with_sounds(clips: Sequence[LabelledClip], sounds: Sequence[Tensor]) -> list[LabelledClip]:
    """Return the clips with other waveforms."""
    return [replace(clip, waveform=s) for clip, s in zip(clips, sounds, strict=True)]


if __name__ == "__main__":
    main()
