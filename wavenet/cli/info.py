"""`wavenet info`: what a checkpoint is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from wavenet.cli.options import DEFAULT_CHECKPOINT, JsonOption


def info(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint.")] = (
        DEFAULT_CHECKPOINT
    ),
    json_: JsonOption = False,
) -> None:
    """Show the sizes, the conditions and the receptive field of a checkpoint."""
    facts = describe(checkpoint)
    if json_:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' '):22} {_readable(value)}")


def describe(checkpoint: Path) -> dict[str, Any]:
    """Gather the facts, all of them computed from the checkpoint."""
    from wavenet import checkpoint as checkpoints

    loaded = checkpoints.load(checkpoint)
    config, model = loaded.config, loaded.model
    return {
        "name": config.name,
        "sample_rate_hz": config.audio.sample_rate,
        "codec": f"{config.codec.law}, {config.codec.bits} bits, {config.codec.rounding}",
        "layers": len(config.model.dilations),
        "kernel_size": config.model.kernel_size,
        "dilations": list(config.model.dilations),
        "receptive_field": model.receptive_field,
        "receptive_field_ms": round(1000 * model.receptive_seconds, 1),
        "parameters": model.parameter_count,
        "macs_per_sample": model.macs_per_sample,
        "conditions": {c.name: list(c.values) for c in config.model.labels},
        "position": any(c.kind == "position" for c in config.model.conditions),
        "default_seconds": config.default_seconds,
    }


def _readable(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {' '.join(values)}" for name, values in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
