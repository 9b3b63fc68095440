"""How good is a digits checkpoint: bits per sample, and are its clips recognised?

    python benchmarks/digits.py --data FOLDER [--checkpoint checkpoints/digits] [--out DIR]

FOLDER holds the Free Spoken Digit Dataset, files {digit}_{speaker}_{index}.wav. Two support-vector
classifiers, one for the digit and one for the speaker, are trained on MFCCs of the real clips of
index 8 and above; they then name real test clips (index 0 to 4) and 100 generated ones: ten per
digit, speakers in turn, seeds 0 to 99, each as long as a training clip of its digit and speaker.
The last line is one JSON document.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from audio_utils import io
from audio_utils.features import FeatureConfig, mfcc
from wavenet import checkpoint
from wavenet.config import SamplingConfig
from wavenet.likelihood.score import score
from wavenet.manifest import find_entries
from wavenet.synthesis.generate import synthesize, warm_up
from wavenet.synthesis.items import Item

RATE = 8000
FRAMES = 16  # every clip is stretched to as many MFCC frames
FIRST_TRAINING_INDEX = 8
LABELS = ("digit", "speaker")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def features(waveform: torch.Tensor) -> np.ndarray:
    """MFCCs of a clip, scaled to one loudness, stretched to `FRAMES`, with mean and deviation."""
    waveform = waveform / waveform.abs().max().clamp(min=1e-3) * 0.5
    frames = mfcc(waveform, FeatureConfig.default_for(RATE))
    stretched = torch.nn.functional.interpolate(frames[None], FRAMES, mode="linear")[0]
    parts = (stretched.flatten(), frames.mean(1), frames.std(1, correction=0))
    return torch.cat(parts).numpy()


def read_clips(folder: Path) -> tuple[list[tuple[dict[str, str], torch.Tensor]], ...]:
    """Read all clips: training, test."""
    train, test = [], []
    for entry in find_entries(folder, "{digit}_{speaker}_{index}"):
        clip = (dict(entry.fields), io.read(entry.path, RATE).waveform)
        index = int(entry.fields["index"])
        if index >= FIRST_TRAINING_INDEX:
            train.append(clip)
        elif index < 5:
            test.append(clip)
    return train, test


def plan(train: list[tuple[dict[str, str], torch.Tensor]], count: int) -> list[Item]:
    """Digits in turn by tens, speakers in turn, the length of a training clip drawn by the seed."""
    items = []
    for seed in range(count):
        labels = {"digit": str(seed // (count // 10) % 10), "speaker": SPEAKERS[seed % 6]}
        lengths = [w.numel() for f, w in train if all(f[n] == labels[n] for n in LABELS)]
        samples = int(np.random.default_rng(seed).choice(lengths))
        items.append(Item(samples, labels, seed))
    return items


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/digits"))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--out", type=Path, help="keep the generated clips here")
    parser.add_argument("--skip-likelihood", action="store_true")
    arguments = parser.parse_args()

    loaded = checkpoint.load(arguments.checkpoint)
    train, test = read_clips(arguments.data)
    result: dict[str, float | int | str] = {"checkpoint": loaded.config.name}
    if not arguments.skip_likelihood:
        scores = [score(loaded, w, {n: f[n] for n in LABELS}) for f, w in test]
        samples = sum(s.samples for s in scores)
        bits = sum(s.bits_per_sample * s.samples for s in scores) / samples
        result |= {"test_bits_per_sample": round(bits, 4), "test_samples": samples}

    items = plan(train, arguments.count)
    sampling = SamplingConfig(temperature=arguments.temperature)
    warm_up(loaded)
    began = time.perf_counter()
    clips = synthesize(loaded, items, sampling)
    took = time.perf_counter() - began
    made = sum(clip.numel() for clip in clips)
    result |= {"generated": len(clips), "samples_per_second": round(made / took)}
    if arguments.out:
        for item, clip in zip(items, clips, strict=True):
            name = f"{item.labels['digit']}_{item.labels['speaker']}_{item.seed}.wav"
            arguments.out.mkdir(parents=True, exist_ok=True)
            io.write(arguments.out / name, clip, RATE)

    inputs = [np.stack([features(w) for _, w in part]) for part in (train, test)]
    generated = np.stack([features(clip) for clip in clips])
    for name in LABELS:
        classifier = make_pipeline(StandardScaler(), SVC(C=10))
        classifier.fit(inputs[0], [f[name] for f, _ in train])
        right = classifier.predict(inputs[1]) == np.array([f[name] for f, _ in test])
        named = classifier.predict(generated) == np.array([i.labels[name] for i in items])
        result[f"{name}_real_percent"] = round(100 * float(right.mean()), 1)
        result[f"{name}_generated_percent"] = round(100 * float(named.mean()), 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
