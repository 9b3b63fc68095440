"""`wavenet bench`: how fast the engines are on this machine, beside what it could do at most."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import say
from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from wavenet.bench.configurations import Network
    from wavenet.bench.machine import Ceilings
    from wavenet.bench.measurement import Row

CONFIGURATIONS = ["A", "B", "S"]
ENGINES = ["cpu", "cached"]
STREAMS = [1, 64]
PRECISIONS = ["fp32", "bf16"]
THREADS = [1, 2]
BUSY = 0.5  # load of the last minute above which a person is warned


def bench(
    configuration: Annotated[
        list[str] | None,
        typer.Option(help="A named network, repeatable: A, B, S; A-mel, A-logistic, A-gaussian."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Measure this checkpoint instead of named networks.")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="Repeatable: cpu, cached; reference, slow; on a GPU gpu, graph."),
    ] = None,
    streams: Annotated[
        list[int] | None, typer.Option(help="Generated at once, repeatable: 1, 64.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="Repeatable: fp32, bf16 (cpu and gpu only).")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Repeatable: 1, 2 (cpu only).")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Each result is the median of so many.")] = 5,
    json_: Annotated[bool, typer.Option("--json", help="Print the JSON line alone.")] = False,
) -> None:
    """Measure the engines; the last line of stdout is one JSON document."""
    from wavenet.bench.machine import describe_machine
    from wavenet.bench.measurement import measure_all, plan

    networks = gather(configuration, checkpoint)
    chosen = (engine or ENGINES, streams or STREAMS, precision or PRECISIONS, threads or THREADS)
    cases = plan(list(networks), *chosen)
    machine = describe_machine()
    say(f"{machine['processor']}, {machine['cores']} cores; {len(cases)} measurements")
    if (machine["load"] or 0) > BUSY:
        say(f"load {machine['load']}: other programs are running, and all figures will suffer")
    if not json_:
        typer.echo(HEADER)
    ceilings, rows = measure_all(networks, cases, runs, say_ceilings, ignore if json_ else show_row)
    typer.echo(json.dumps(document(machine, runs, ceilings, rows)))


def gather(names: list[str] | None, checkpoint: Path | None) -> "dict[str, Network]":
    """Make the networks to measure, by name.

    Raises:
        ConditionError: an unknown name, or names and a checkpoint together.
    """
    from wavenet.bench.configurations import load_network, make_network

    if checkpoint is None:
        return {name: make_network(name) for name in names or CONFIGURATIONS}
    if names:
        raise ConditionError("--configuration and --checkpoint exclude each other; give one")
    network = load_network(checkpoint)
    return {network.name: network}


HEADER = (
    f"{'network':10} {'streams':>7} {'engine':9} {'weights':7} {'threads':>7} {'samples/s':>10} "
    f"{'x real time':>11} {'GMAC/s':>7} {'GB/s':>6} {'ceiling':>7} {'x cached':>8} "
    f"{'handover':>8}"
)


def show_row(row: "Row") -> None:
    """Print one measurement."""
    ratio = "" if row.ratio_to_cached is None else f"{row.ratio_to_cached:.2f}"
    ceiling = "" if row.share_of_ceiling is None else f"{row.share_of_ceiling:.0%}"
    handover = "" if row.handover is None else f"{row.handover * 1e9:.0f} ns"
    typer.echo(
        f"{row.configuration:10} {row.streams:7} {row.engine:9} {row.precision:7} {row.threads:7} "
        f"{row.samples_per_second:10,.0f} {row.times_real_time:11.2f} "
        f"{row.macs_per_second / 1e9:7.1f} {row.weight_bytes_per_second / 1e9:6.1f} "
        f"{ceiling:>7} {ratio:>8} {handover:>8}"
    )


def ignore(row: "Row") -> None:
    """Print nothing."""


def say_ceilings(ceilings: "Ceilings") -> None:
    """Tell what the machine does at most."""
    for (size, threads), rate in ceilings.read.items():
        say(f"reads {size / 1e6:.2f} MB at {rate / 1e9:.1f} GB/s (threads: {threads})")
    for threads, rate in ceilings.multiply.items():
        say(f"multiplies matrices at {rate / 1e9:.1f} GMAC/s (threads: {threads})")


def document(
    machine: dict[str, Any], runs: int, ceilings: "Ceilings", rows: "list[Row]"
) -> dict[str, Any]:
    """Gather everything for programs to read."""
    from dataclasses import asdict

    return {
        "machine": machine,
        "runs": runs,
        "ceilings": {
            "read": [
                {"bytes": size, "threads": threads, "bytes_per_second": rate}
                for (size, threads), rate in ceilings.read.items()
            ],
            "multiply": [
                {"threads": threads, "macs_per_second": rate}
                for threads, rate in ceilings.multiply.items()
            ],
        },
        "rows": [asdict(row) for row in rows],
    }
