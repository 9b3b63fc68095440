"""Measure the samples per second of a training step, by formulation.

    python benchmarks/training.py [--threads 2] [--rounds 5] [--batch 4] [--samples 5120]
        [--precision auto|fp32|both]

The network is configuration A of `wavenet bench`: 20 layers, dilations 1..512 twice, R = 64, gate
64 (each half), S = 256, kernel 2, 256 classes, no conditions; random weights and codes. A step is
forward, loss, backward, clipping and AdamW. "Definition" is `WaveNet.forward`; "fused" is what the
training loop runs on a CPU (`wavenet.training.fused_blocks`). All formulations start with the same
weights, and the first loss of each must be that of the definition. They alternate in one process,
so that a disturbance of the machine affects all; a figure is the median over the rounds, and a
ratio is the median of the ratios within each round. The CPU column, processor time per step, is
affected less by other programs. bf16 is torch's autocast: it is faster only on processors with bf16
arithmetic, and is measured on others only with `--precision both` (slow). The last line is one JSON
document.
"""

import argparse
import contextlib
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.bench.machine import describe_machine
from wavenet.model.wavenet import WaveNet, WaveNetConfig
from wavenet.training.batches import Batch
from wavenet.training.prefetch import encode_batch
from wavenet.training.schedule import uses_bf16
from wavenet.training.task import mean_nll

CPU = torch.device("cpu")
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}  # nats, of the first loss
DEFINITION = "definition fp32"

Loss = Callable[[nn.Module, Batch], Tensor]


class PlainConv(nn.Module):
    """The same network in the usual form: Conv1d over (B, C, T), one skip product per layer."""

    def __init__(self, model: WaveNet):
        super().__init__()
        self.start_code = model.start_code
        self.embedding = copy.deepcopy(model.embedding)
        self.gates, self.residuals, self.skips = (nn.ModuleList() for _ in range(3))
        for n, block in enumerate(model.blocks):
            conv, gate = block.conv, model.config.gate_channels
            weight = conv.linear.weight.unflatten(1, (conv.kernel_size, -1)).transpose(1, 2)
            self.gates.append(conv1d(weight, conv.linear.bias, conv.dilation))
            if block.residual is not None:
                self.residuals.append(conv1d(block.residual.weight[..., None], block.residual.bias))
            weight = model.skip.weight[:, n * gate : (n + 1) * gate, None]
            self.skips.append(conv1d(weight, model.skip.bias if n == 0 else None))
        self.post = nn.Sequential(
            nn.ReLU(),
            conv1d(model.hidden.weight[..., None], model.hidden.bias),
            nn.ReLU(),
            conv1d(model.output.weight[..., None], model.output.bias),
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Compute params (B, P, T) of codes (B, T)."""
        x = self.embedding(F.pad(codes[:, :-1], (1, 0), value=self.start_code)).transpose(1, 2)
        total = 0
        for n, (gates, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            past = (gates.kernel_size[0] - 1) * gates.dilation[0]
            a, b = gates(F.pad(x, (past, 0))).chunk(2, dim=1)
            z = torch.tanh(a) * torch.sigmoid(b)
            total = total + skip(z)
            if n < len(self.residuals):
                x = x + self.residuals[n](z)
        return self.post(total)


def conv1d(weight: Tensor, bias: Tensor | None, dilation: int = 1) -> nn.Conv1d:
    """Return a convolution with copies of a weight (out, in, k) and a bias."""
    conv = nn.Conv1d(
        *weight.shape[1::-1], weight.shape[2], dilation=dilation, bias=bias is not None
    )
    with torch.no_grad():
        conv.weight.copy_(weight)
        if conv.bias is not None:
            conv.bias.copy_(bias)
    return conv


def plain_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Compute the mean loss of `PlainConv`, in nats."""
    return F.cross_entropy(model(batch.codes).float(), batch.codes)


def definition_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Compute the mean loss with the definition of the network, in nats."""
    conditioning = model.conditioning(batch.conditions, batch.total_samples)
    return F.cross_entropy(model(batch.codes, conditioning).float(), batch.codes)


def fused_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Compute the mean loss as the training loop does on a CPU, in nats."""
    return mean_nll(model, encode_batch(batch, model))


class Runner:
    """One formulation: its model, its optimizer, the times of its steps."""

    def __init__(self, model: nn.Module, nll: Loss, precision: str):
        self.model, self.nll, self.precision = model, nll, precision
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def step(self, batch: Batch) -> float:
        """Do one training step and record its time; return the loss."""
        start, cpu_start = time.perf_counter(), time.process_time()
        bf16 = self.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = self.nll(self.model, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)
        self.cpu_seconds.append(time.process_time() - cpu_start)
        return loss.item()


def make_runners(names: list[str]) -> dict[str, Runner]:
    """Build the formulations, all with the same weights."""
    torch.manual_seed(0)
    sizes = {"residual_channels": 64, "gate_channels": 64, "skip_channels": 256, "kernel_size": 2}
    config = WaveNetConfig(**sizes, dilations=tuple(2**n for n in range(10)) * 2)
    model = WaveNet(config, 8, 16_000)
    builders = {
        "Conv1d fp32": lambda: Runner(PlainConv(model), plain_nll, "fp32"),
        DEFINITION: lambda: Runner(copy.deepcopy(model), definition_nll, "fp32"),
        "Conv1d bf16": lambda: Runner(PlainConv(model), plain_nll, "bf16"),
        "definition bf16": lambda: Runner(copy.deepcopy(model), definition_nll, "bf16"),
        "fused fp32": lambda: Runner(copy.deepcopy(model), fused_nll, "fp32"),
        "fused bf16": lambda: Runner(copy.deepcopy(model), fused_nll, "bf16"),
    }
    chosen = {*names, DEFINITION}
    return {name: build() for name, build in builders.items() if name in chosen}


def measure(runners: dict[str, Runner], batch: Batch, rounds: int) -> None:
    """Warm up, compare the first losses, and measure the formulations in turn."""
    losses = {name: runner.step(batch) for name, runner in runners.items()}
    for name, runner in runners.items():
        error = abs(losses[name] - losses[DEFINITION])
        if error > TOLERANCE[runner.precision]:
            raise SystemExit(f"the loss of {name} differs from the definition by {error:.2g} nats")
        runner.seconds.clear()
        runner.cpu_seconds.clear()
    for _ in range(rounds):
        for runner in runners.values():
            runner.step(batch)


def main() -> None:
    """Measure; print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="clips in a batch")
    parser.add_argument("--samples", type=int, default=5120, help="samples in a clip")
    parser.add_argument("--precision", choices=("auto", "fp32", "both"), default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    has_bf16 = arguments.precision == "auto" and uses_bf16("auto", CPU)
    precisions = ("fp32", "bf16") if has_bf16 or arguments.precision == "both" else ("fp32",)
    runners = make_runners(
        [f"{f} {p}" for p in precisions for f in ("Conv1d", "definition", "fused")]
    )
    clips, samples = arguments.batch, arguments.samples
    codes = torch.randint(0, 256, (clips, samples))
    zeros = torch.zeros(clips, dtype=torch.int64)
    batch = Batch(
        codes, torch.ones_like(codes, dtype=torch.bool), zeros, [{}] * clips, [samples] * clips
    )
    measure(runners, batch, arguments.rounds)
    results = {}
    base = runners[DEFINITION].seconds
    print(
        f"{'formulation':18} {'samples/s':>10} {'best':>8} {'x definition':>13} {'CPU s/step':>11}"
    )
    for name, runner in runners.items():
        results[name] = {
            "samples_per_second": round(clips * samples / statistics.median(runner.seconds)),
            "best": round(clips * samples / min(runner.seconds)),
            "x_definition": round(
                statistics.median(b / s for b, s in zip(base, runner.seconds, strict=True)), 3
            ),
            "cpu_seconds_per_step": round(statistics.median(runner.cpu_seconds), 3),
        }
        speed, best, ratio, cpu = results[name].values()
        print(f"{name:18} {speed:10,} {best:8,} {ratio:13.2f} {cpu:11.2f}")
    details = {
        "configuration": "A",
        "batch": [clips, samples],
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "machine": describe_machine(),
    }
    print(json.dumps({**details, "formulations": results}))


if __name__ == "__main__":
    main()
