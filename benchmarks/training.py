"""How many samples a second does one training step take in, by formulation?

    python benchmarks/training.py [--threads 2] [--rounds 5] [--batch 4] [--samples 5120]
        [--precision auto|fp32|both]

The network is configuration A of `wavenet bench`: 20 layers, dilations 1..512 twice, R = 64, gate
64 (each half), S = 256, kernel 2, 256 classes, no conditions; random weights and codes. A step is
forward, loss, backward, clipping and AdamW. "Definition" is `WaveNet.forward`; "stack" is what the
training loop runs on a CPU (`wavenet.training.stack`). All formulations begin with the same
weights, and the first loss of each must be that of the definition. They take turns in one process,
so that what disturbs the machine disturbs all; a figure is the median over the rounds, and a ratio
is the median of the ratios within each round. The CPU column, processor time of a step, suffers
less from other programs. bf16 is torch's autocast: it pays only where the processor has bf16
arithmetic, and is measured elsewhere only with `--precision both` (slow). The last line is one
JSON document.
"""

import argparse
import contextlib
import copy
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.model.wavenet import WaveNet, WaveNetConfig
from wavenet.training.batches import Batch
from wavenet.training.loop import masked_nll
from wavenet.training.schedule import in_bf16

CPU = torch.device("cpu")
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}  # nats, of the first loss
DEFINITION = "definition fp32"

Loss = Callable[[nn.Module, Batch], Tensor]


class PlainConv(nn.Module):
    """The same network as most write it: Conv1d over (B, C, T), one skip product per layer."""

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
        """Predict codes (B, T) as params (B, P, T)."""
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
    """Make a convolution that holds copies of a weight (out, in, k) and a bias."""
    made = nn.Conv1d(
        *weight.shape[1::-1], weight.shape[2], dilation=dilation, bias=bias is not None
    )
    with torch.no_grad():
        made.weight.copy_(weight)
        if made.bias is not None:
            made.bias.copy_(bias)
    return made


def plain_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Average the loss of `PlainConv`, in nats."""
    return F.cross_entropy(model(batch.codes).float(), batch.codes)


def definition_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Average the loss of the network as it is defined, in nats."""
    conditioning = model.conditioning(batch.labels, batch.totals)
    return F.cross_entropy(model(batch.codes, conditioning).float(), batch.codes)


def stack_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Average the loss as the training loop does on a CPU, in nats."""
    return masked_nll(model, batch, CPU)


class Runner:
    """One formulation: its model, its optimiser, what its steps took."""

    def __init__(self, model: nn.Module, nll: Loss, precision: str):
        self.model, self.nll, self.precision = model, nll, precision
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def step(self, batch: Batch) -> float:
        """Make one training step and note its time; return the loss."""
        began, used = time.perf_counter(), time.process_time()
        bf16 = self.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = self.nll(self.model, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - began)
        self.cpu_seconds.append(time.process_time() - used)
        return loss.item()


def make_runners(names: list[str]) -> dict[str, Runner]:
    """Build every formulation from one set of weights."""
    torch.manual_seed(0)
    sizes = {"residual_channels": 64, "gate_channels": 64, "skip_channels": 256, "kernel_size": 2}
    model = WaveNet(WaveNetConfig(**sizes, dilations=tuple(2**n for n in range(10)) * 2), 8, 16_000)
    made = {
        "Conv1d fp32": lambda: Runner(PlainConv(model), plain_nll, "fp32"),
        DEFINITION: lambda: Runner(copy.deepcopy(model), definition_nll, "fp32"),
        "Conv1d bf16": lambda: Runner(PlainConv(model), plain_nll, "bf16"),
        "definition bf16": lambda: Runner(copy.deepcopy(model), definition_nll, "bf16"),
        "stack fp32": lambda: Runner(copy.deepcopy(model), stack_nll, "fp32"),
        "stack bf16": lambda: Runner(copy.deepcopy(model), stack_nll, "bf16"),
    }
    return {name: make() for name, make in made.items() if name in names or name == DEFINITION}


def measure(runners: dict[str, Runner], batch: Batch, rounds: int) -> None:
    """Warm all up, compare their first losses, and let them take turns."""
    losses = {name: runner.step(batch) for name, runner in runners.items()}
    for name, runner in runners.items():
        off = abs(losses[name] - losses[DEFINITION])
        if off > TOLERANCE[runner.precision]:
            raise SystemExit(
                f"{name} computes another loss than the definition: {off:.2g} nats off"
            )
        runner.seconds.clear()
        runner.cpu_seconds.clear()
    for _ in range(rounds):
        for runner in runners.values():
            runner.step(batch)


def processor() -> str:
    """Name the processor."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="clips in a batch")
    parser.add_argument("--samples", type=int, default=5120, help="samples in a clip")
    parser.add_argument("--precision", choices=("auto", "fp32", "both"), default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fast = arguments.precision == "auto" and in_bf16("auto", CPU)
    precisions = ("fp32", "bf16") if fast or arguments.precision == "both" else ("fp32",)
    runners = make_runners(
        [f"{f} {p}" for p in precisions for f in ("Conv1d", "definition", "stack")]
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
        speed, best, ratio, used = results[name].values()
        print(f"{name:18} {speed:10,} {best:8,} {ratio:13.2f} {used:11.2f}")
    about = {
        "configuration": "A",
        "batch": [clips, samples],
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "processor": processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
    print(json.dumps({**about, "formulations": results}))


if __name__ == "__main__":
    main()
