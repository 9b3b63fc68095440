"""Measure the time of a sample early and late in a clip, and with short and long dilations.

    python benchmarks/cost_per_sample.py [--rounds 5] [--threads 1]

The engine cpu with configuration A of `wavenet bench`, one stream, float32, random weights:
- early and late: time per sample near sample 10,000 and near sample 1,000,000, over 4,000 samples;
- short and long dilations: up to 64 and up to 4,096, 20 layers each;
- prefill: a prompt of 10 s at 16 kHz.
The two sides of a comparison take turns; the ratio is the median of the ratios of all rounds. The
last line is one JSON document.
"""

import argparse
import json
import statistics
import time

import torch

from wavenet.bench.configurations import BITS, CONFIGURATIONS, SAMPLE_RATE
from wavenet.bench.machine import describe_machine
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.engine import State
from wavenet.model.wavenet import WaveNet, WaveNetConfig
from wavenet.sampling import SamplingConfig

SPAN = 4_000  # samples timed at once
EARLY, LATE = 10_000, 1_000_000
PROMPT_SECONDS = 10


class Stream:
    """One stream of one model."""

    def __init__(self, config: WaveNetConfig, threads: int):
        torch.manual_seed(0)
        self.model = WaveNet(config, BITS, SAMPLE_RATE).requires_grad_(False).eval()
        self.engine = CpuEngine(self.model, threads=threads)
        self.noise = torch.rand(1, 100_000)
        self.state: State = self.restart()
        self.run(SPAN)  # compiles and warms up

    def restart(self) -> State:
        """Start a clip."""
        self.state = self.engine.start(self.model.conditioning([{}], [LATE + 2 * SPAN]))
        return self.state

    def run(self, samples: int) -> float:
        """Generate samples; return the microseconds per sample."""
        start = time.perf_counter()
        self.engine.run(self.state, samples, SamplingConfig(), self.noise[:, :samples])  # type: ignore[arg-type]
        return (time.perf_counter() - start) / samples * 1e6

    def go_to(self, sample: int) -> None:
        """Generate until the clip has a number of samples."""
        while (missing := sample - int(self.state.position[0])) > 0:
            self.run(min(missing, self.noise.shape[1]))


def compare(first: Stream, second: Stream, rounds: int) -> tuple[float, float, float]:
    """Measure two streams in turns; return the microseconds per sample of each, and the ratio."""
    times = [(first.run(SPAN), second.run(SPAN)) for _ in range(rounds)]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return medians[0], medians[1], statistics.median(b / a for a, b in times)


def prefill(stream: Stream, rounds: int) -> float:
    """Return the median of the seconds that a prompt takes."""
    prompt = torch.randint(0, 1 << BITS, (PROMPT_SECONDS * SAMPLE_RATE,))
    seconds = []
    for _ in range(rounds):
        state = stream.engine.start(stream.model.conditioning([{}], [prompt.numel() + 1]))
        start = time.perf_counter()
        stream.engine.prefill(state, [prompt])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rounds, a = arguments.rounds, CONFIGURATIONS["A"]

    early, late = Stream(a, arguments.threads), Stream(a, arguments.threads)
    early.restart()
    early.go_to(EARLY - SPAN * rounds // 2)
    late.restart()
    late.go_to(LATE - SPAN * rounds // 2)
    results = {"early and late": compare(early, late, rounds)}
    short, long = (
        Stream(
            a.model_copy(update={"dilations": tuple(1 << n % cycle for n in range(20))}),
            arguments.threads,
        )
        for cycle in (7, 13)
    )
    for stream in (short, long):
        stream.go_to(2 * long.model.receptive_field)
    results["short and long dilations"] = compare(short, long, rounds)
    seconds = prefill(early, rounds)

    for name, (one, other, ratio) in results.items():
        print(f"{name:24} {one:7.1f} us {other:7.1f} us  ratio {ratio:.3f}")
    print(f"{'prefill':24} {seconds:7.3f} s for a prompt of {PROMPT_SECONDS} s")
    record = {
        "benchmark": "cost_per_sample",
        "machine": describe_machine(),
        "threads": arguments.threads,
        "rounds": rounds,
        **{name.replace(" ", "_"): values for name, values in results.items()},
        "prefill_s": seconds,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
