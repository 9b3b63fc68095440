"""`wavenet info`: what a checkpoint is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import DEFAULT_CHECKPOINT, JsonOption

if TYPE_CHECKING:
    from wavenet.config import ModelConfig


def info(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint.")] = (
        DEFAULT_CHECKPOINT
    ),
    json_: JsonOption = False,
    engines: Annotated[
        bool, typer.Option("--engines", help="Say which engines can run it here, and why not.")
    ] = False,
) -> None:
    """Show the sizes, the conditions and the receptive field of a checkpoint."""
    facts = describe_engines(checkpoint) if engines else describe(checkpoint)
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
    drawing = config.sampling.model_dump(exclude={"greedy"}, exclude_none=True)
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
        "conditions": describe_conditions(config.model),
        "position": any(c.kind == "position" for c in config.model.conditions),
        "default_seconds": config.default_seconds,
        "sampling": {name: f"{value:g}" for name, value in drawing.items()},
    }


def describe_engines(checkpoint: Path) -> dict[str, Any]:
    """Say of each engine, the fastest first, whether it can be had; "auto" takes the first."""
    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for, explain_auto

    reasons = explain_auto(checkpoints.load(checkpoint, device_for("auto")).model)
    taken = next(name for name, reason in reasons if not reason)
    return {name: reason or ("taken" if name == taken else "yes") for name, reason in reasons}


def describe_conditions(model: "ModelConfig") -> dict[str, Any]:
    """Say by name what a model takes: the values of a label, the range or shape of the others."""
    from wavenet.conditions import NumberCondition

    facts: dict[str, Any] = {c.name: list(c.values) for c in model.labels}
    for condition in model.globals:
        if isinstance(condition, NumberCondition):
            facts[condition.name] = condition.choice
        else:
            facts[condition.name] = f"{condition.size} numbers"
    for local in model.locals:
        facts[local.name] = f"frames x {local.columns}, one every {model.condition_hop} samples"
    return facts


def _readable(value: object) -> str:
    if isinstance(value, dict):
        parts = {name: v if isinstance(v, str) else " ".join(v) for name, v in value.items()}
        return "; ".join(f"{name}: {text}" for name, text in parts.items()) or "none"
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
