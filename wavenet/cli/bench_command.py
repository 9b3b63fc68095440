"""`wavenet bench`: speed of the engines on this machine, compared with the limits of the machine.

Input: options of the command line. Output: a table and one line of JSON on stdout. Called by
`main`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import print_message
from wavenet.errors import ConfigError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.bench.configurations import BenchmarkModel
    from wavenet.bench.machine import Ceilings
    from wavenet.bench.measurement import Measurement

CONFIGURATIONS = ["A", "B", "S"]
ENGINES = ["cpu", "cached"]
STREAMS = [1, 64]
PRECISIONS = ["fp32", "bf16"]
THREADS = [1, 2]
BUSY_LOAD = 0.5  # load average of the last minute above which a warning is printed


def bench(
    configuration: Annotated[
        list[str] | None,
        typer.Option(help="Named model: A, B, S, A-mel, A-logistic, A-gaussian. Repeatable."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", "-c", help="Measure this checkpoint instead of named models."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="cpu, cached, reference (slow); on a GPU gpu, graph. Repeatable."),
    ] = None,
    streams: Annotated[
        list[int] | None, typer.Option(help="Number of clips generated at once. Repeatable.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, bf16 (engines cpu and gpu), int8 (engine cpu). Repeatable."),
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(help="1, 2 (engine cpu only). Repeatable.")
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, help="Number of runs per measurement; the median is printed.")
    ] = 5,
    json_: Annotated[bool, typer.Option("--json", help="Print only the line of JSON.")] = False,
) -> None:
    """Measure the speed of the engines; the last line of stdout is one JSON document."""
    from wavenet.bench.machine import describe_machine
    from wavenet.bench.measurement import measure_all, plan_cases

    models = load_models(configuration, checkpoint)
    axes = (engine or ENGINES, streams or STREAMS, precision or PRECISIONS, threads or THREADS)
    cases = plan_cases(list(models), *axes)
    machine = describe_machine()
    print_message(f"{machine['processor']}, {machine['cores']} cores; {len(cases)} measurements")
    if (machine["load"] or 0) > BUSY_LOAD:
        print_message(f"load {machine['load']}: other programs are running and lower all figures")
    if not json_:
        print_line(HEADER)
    ceilings, measurements = measure_all(
        models, cases, runs, print_ceilings, _do_nothing if json_ else print_measurement
    )
    print_json(build_report(machine, runs, ceilings, measurements))


def load_models(names: list[str] | None, checkpoint: Path | None) -> "dict[str, BenchmarkModel]":
    """Build the named models, or load the checkpoint; return the models by name.

    Raises:
        ConfigError: a name is unknown, or both names and a checkpoint were passed.
    """
    from wavenet.bench.configurations import build_named_model, load_checkpoint_model

    if checkpoint is None:
        return {name: build_named_model(name) for name in names or CONFIGURATIONS}
    if names:
        raise ConfigError("--configuration and --checkpoint exclude each other; use one")
    model = load_checkpoint_model(checkpoint)
    return {model.name: model}


HEADER = (
    f"{'model':10} {'streams':>7} {'engine':9} {'weights':7} {'threads':>7} {'samples/s':>10} "
    f"{'x 16 kHz':>8} {'GMAC/s':>7} {'GB/s':>6} {'% of ceiling':>12} {'x cached':>8} "
    f"{'core-core':>9}"
)


def print_measurement(measurement: "Measurement") -> None:
    """Print one row of the table."""
    ratio = "" if measurement.ratio_to_cached is None else f"{measurement.ratio_to_cached:.2f}"
    share = "" if measurement.share_of_ceiling is None else f"{measurement.share_of_ceiling:.0%}"
    latency = "" if measurement.core_latency is None else f"{measurement.core_latency * 1e9:.0f} ns"
    print_line(
        f"{measurement.configuration:10} {measurement.streams:7} {measurement.engine:9} "
        f"{measurement.precision:7} {measurement.threads:7} "
        f"{measurement.samples_per_second:10,.0f} {measurement.times_real_time:8.2f} "
        f"{measurement.macs_per_second / 1e9:7.1f} "
        f"{measurement.weight_bytes_per_second / 1e9:6.1f} "
        f"{share:>12} {ratio:>8} {latency:>9}"
    )


def _do_nothing(measurement: "Measurement") -> None:
    """Do nothing; used with --json, where the table is not printed."""


def print_ceilings(ceilings: "Ceilings") -> None:
    """Print the limits of the machine on stderr."""
    for (size, threads), rate in ceilings.read_bandwidth.items():
        print_message(f"reads {size / 1e6:.2f} MB at {rate / 1e9:.1f} GB/s (threads: {threads})")
    for threads, rate in ceilings.multiply_rate.items():
        print_message(f"multiplies matrices at {rate / 1e9:.1f} GMAC/s (threads: {threads})")


def build_report(
    machine: dict[str, Any],
    runs: int,
    ceilings: "Ceilings",
    measurements: "list[Measurement]",
) -> dict[str, Any]:
    """Return the JSON document of a benchmark."""
    from dataclasses import asdict

    return {
        "machine": machine,
        "runs": runs,
        "ceilings": {
            "read": [
                {"bytes": size, "threads": threads, "bytes_per_second": rate}
                for (size, threads), rate in ceilings.read_bandwidth.items()
            ],
            "multiply": [
                {"threads": threads, "macs_per_second": rate}
                for threads, rate in ceilings.multiply_rate.items()
            ],
        },
        "rows": [asdict(measurement) for measurement in measurements],
    }
