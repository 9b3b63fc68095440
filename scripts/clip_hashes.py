"""Hash the codes of a fixed set of clips, to prove that a change does not alter generated audio.

`python scripts/clip_hashes.py FILE` compares with the hashes in FILE and exits 1 at a difference;
`--write` replaces FILE. The clips cover the engines, the conditions, the sampling rules and the
ways to generate. Floating-point sums differ between processors, so FILE is valid for one kind of
processor; compare two versions of the project on one machine.
"""

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from audio_utils.example_sound import make_example_sound
from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.config import parse_config
from wavenet.engines.registry import make_engine
from wavenet.generation.generate import generate_many
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import beam_search, generate_with_candidates
from wavenet.model.frame_features import compute_frame_features
from wavenet.sampling import SamplingConfig

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
PLAIN = SamplingConfig()
LABELS = {"digit": "7", "speaker": "theo"}
# maps the name of an engine to arguments of make_engine
ENGINES = {
    "reference": ("reference",),
    "cached": ("cached",),
    "graph": ("graph",),
    "cpu, 1 thread": ("cpu", "fp32", 1),
    "cpu, 2 threads": ("cpu", "fp32", 2),
    "cpu, bf16": ("cpu", "bf16", 1),
}
SAMPLINGS = {
    "temperature 0.8": SamplingConfig(temperature=0.8),
    "top-k 20": SamplingConfig(top_k=20),
    "top-p 0.9": SamplingConfig(top_p=0.9),
    "greedy": SamplingConfig(greedy=True),
    "plain sampling": PLAIN,
    "guidance 3": SamplingConfig(guidance=3.0),
    "temperature 4": SamplingConfig(temperature=4.0),
}
NETWORK = {
    "residual_channels": 21,
    "gate_channels": 18,
    "skip_channels": 40,
    "kernel_size": 3,
    "dilations": [1, 2, 4, 8, 1, 2, 4, 8],
    "condition_channels": 16,
}
CONDITIONS = [
    {"kind": "label", "name": "word", "values": ["yes", "no"], "dropout": 0.1},
    {"kind": "number", "name": "level", "low": -60, "high": 0, "unit": "dB"},
    {"kind": "vector", "name": "voice", "size": 4},
    {"kind": "position"},
    {"kind": "mel", "n_mels": 12},
    {"kind": "mfcc", "n_mfcc": 8},
    {"kind": "loudness"},
    {"kind": "f0"},
    {"kind": "frames", "name": "extra", "columns": 3},
]
LINEAR = {"law": "linear", "bits": 16, "silence_code": 32768}
# maps the name of a network with random weights to settings of its config
NETWORKS = {
    "categorical": {"codec": {}, "output": {}},
    "logistic": {"codec": LINEAR, "output": {"output": {"kind": "logistic-mixture"}}},
    "gaussian": {"codec": LINEAR, "output": {"output": {"kind": "gaussian-mixture"}}},
}


def hash_codes(codes: Tensor) -> str:
    """Return the first 16 digits of the SHA-256 of codes (n,) int64."""
    return hashlib.sha256(codes.cpu().numpy().astype("<i8").tobytes()).hexdigest()[:16]


def random_checkpoint(name: str) -> Checkpoint:
    """Build a network of `NETWORKS` with random weights, the same every time."""
    chosen = NETWORKS[name]
    config = {
        "name": name,
        "audio": {"sample_rate": 8000},
        "codec": chosen["codec"],
        "model": {**NETWORK, **chosen["output"], "conditions": CONDITIONS},
    }
    parsed = parse_config(CheckpointConfig, json.dumps(config), name)
    torch.manual_seed(0)
    model = checkpoint.build(parsed)
    with torch.no_grad():
        model.output.weight.mul_(10)  # so that codes depend on the past
    return Checkpoint(parsed, model.requires_grad_(False).eval(), Path())


def generate(
    loaded: Checkpoint,
    item: GenerationRequest,
    sampling: SamplingConfig | None = None,
    engine: tuple[object, ...] = ENGINES["cpu, 1 thread"],
) -> str:
    """Generate one clip and return its hash."""
    runner = make_engine(engine[0], loaded.model, *engine[1:])
    (clip,) = generate_many(loaded, [item], sampling, runner)
    return hash_codes(clip.codes)


def digits() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the clips of the spoken digits: name, and a function that returns the hash."""
    loaded = checkpoint.load(CHECKPOINTS / "digits")
    sound = make_example_sound(8000)[800:2400]

    def clip(samples: int = 4000, seed: int = 1, **more: object) -> GenerationRequest:
        return GenerationRequest(samples, **{"conditions": LABELS, "seed": seed, **more})

    for name, engine in ENGINES.items():
        samples = {"reference": 250, "cpu, 1 thread": 4000}.get(name, 1500)
        yield f"digits, {name}", lambda e=engine, s=samples: generate(loaded, clip(s), engine=e)
    for name, sampling in SAMPLINGS.items():
        yield f"digits, {name}", lambda s=sampling: generate(loaded, clip(), s)
    unlabelled = clip(conditions={"digit": "3"})
    yield "digits, one label left out", lambda: generate(loaded, unlabelled, PLAIN)
    for name in ("cpu, 1 thread", "cached"):
        going_on = clip(1000, prompt=sound)
        yield (
            f"digits, prompt, {name}",
            lambda e=ENGINES[name], i=going_on: generate(loaded, i, engine=e),
        )
    many = [clip(500 + 700 * n, seed=n, prompt=sound if n % 2 else None) for n in range(5)]
    made: dict[int, str] = {}

    def together(n: int) -> str:
        if not made:
            runner = make_engine(*ENGINES["cpu, 1 thread"][:1], loaded.model, "fp32", 1)
            clips = generate_many(loaded, many, None, runner, max_active=3)
            made.update({one.index: hash_codes(one.codes) for one in clips})
        return made[n]

    for n in range(len(many)):
        yield f"digits, clip {n} of 5", lambda n=n: together(n)
    yield "digits, 4 beams", lambda: hash_codes(beam_search(loaded, clip(200), 4).codes)


def others() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the clips of the vocoder, the strings and networks with random weights."""
    sound = make_example_sound(8000)
    vocoder, strings = (checkpoint.load(CHECKPOINTS / name) for name in ("vocoder", "strings"))
    local = compute_frame_features(vocoder.config.model, 8000, sound[:4000])
    spoken = GenerationRequest(4000, seed=2, frame_features=local)
    yield "vocoder, cpu, 1 thread", lambda: generate(vocoder, spoken)
    short = GenerationRequest(1200, seed=2, frame_features=local[:8])
    yield "vocoder, cached", lambda: generate(vocoder, short, engine=ENGINES["cached"])
    yield (
        "vocoder, 3 candidates",
        lambda: hash_codes(
            generate_with_candidates(
                vocoder, spoken, 3, engine=make_engine("cpu", vocoder.model, "fp32", 1)
            ).codes
        ),
    )
    for name, item in {
        "default loudness": GenerationRequest(2000, seed=3),
        "loudness -40": GenerationRequest(2000, {"loudness": -40.0}, seed=3),
        "prompt": GenerationRequest(2000, seed=3, prompt=sound[:4000]),
    }.items():
        yield f"strings, {name}", lambda i=item: generate(strings, i)
    for name in NETWORKS:
        loaded = random_checkpoint(name)
        extra = {"extra": torch.linspace(-1, 1, 63).reshape(21, 3)}
        item = GenerationRequest(
            600,
            {"word": "no", "level": -20.0, "voice": torch.linspace(-1, 1, 4)},
            seed=4,
            prompt=sound[1000:2000],
            frame_features=compute_frame_features(loaded.config.model, 8000, sound[:1600], extra),
        )
        for engine in ("reference", "cached", "cpu, 1 thread"):
            yield (
                f"{name} with all conditions, {engine}",
                lambda o=loaded, i=item, e=ENGINES[engine]: generate(o, i, engine=e),
            )


def main() -> int:
    """Compute all hashes, then compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for source in (digits(), others()):
        for name, compute in source:
            found[name] = compute()
            print(f"{found[name]}  {name}", flush=True)
    if arguments.write:
        record = {"processor": platform.processor() or platform.machine(), "clips": found}
        arguments.file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return 0
    wanted = json.loads(arguments.file.read_text(encoding="utf-8"))["clips"]
    differing = [
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    ]
    for name in sorted(differing):
        print(f"differs: {name}: {wanted.get(name)} in {arguments.file}, found {found.get(name)}")
    print(f"{len(found) - len(differing)} of {len(wanted)} clips are equal")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
