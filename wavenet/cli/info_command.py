"""`wavenet info`: sizes, conditions and engines of a checkpoint.

Input: a checkpoint folder. Output: facts on stdout, as lines or JSON. Called by `main`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import CHECKPOINT_HELP, DEFAULT_CHECKPOINT, JsonOption, print_message
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.rounding_costs import RoundingCosts


def info(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)] = DEFAULT_CHECKPOINT,
    json_: JsonOption = False,
    engines: Annotated[
        bool,
        typer.Option(
            "--engines",
            help="Print which engines can run the checkpoint on this machine, and why others "
            "cannot.",
        ),
    ] = False,
) -> None:
    """Print the sizes, conditions and receptive field of a checkpoint."""
    from wavenet.user_input.user_folders import settings_file

    facts = describe_engines(checkpoint) if engines else checkpoint_facts(checkpoint)
    if json_:
        print_json(facts)
    else:
        for name, value in facts.items():
            print_line(f"{name.replace('_', ' '):22} {_format_value(value)}")
    print_message(describe_settings_file(settings_file()))


def describe_settings_file(path: Path | None) -> str:
    """Return one line on the file of the user's settings."""
    if path is None:
        return "no settings file, because this user has no home folder"
    return f"settings file: {path}" + ("" if path.is_file() else ", which does not exist")


def checkpoint_facts(checkpoint: Path) -> dict[str, Any]:
    """Return the facts of a checkpoint by name, all computed from its config and weights."""
    from wavenet import checkpoint as checkpoints
    from wavenet.checkpoint_folders import is_compressor, resolve_checkpoint
    from wavenet.model.condition_values import describe_conditions
    from wavenet.model.conditions import RasterCondition

    if is_compressor(resolve_checkpoint(checkpoint)):
        return compressor_facts(resolve_checkpoint(checkpoint))
    loaded = checkpoints.load(checkpoint)
    config, model = loaded.config, loaded.model
    rasters = [c for c in config.model.conditions if isinstance(c, RasterCondition)]
    sampling = config.sampling.model_dump(exclude={"greedy"}, exclude_none=True)
    return {
        "name": config.name,
        **voice_facts(checkpoint),
        "sample_rate_hz": config.audio.sample_rate,
        "codec": config.codec.description,
        **model.describe(),
        "conditions": describe_conditions(config.model),
        "position": any(c.kind == "position" for c in config.model.conditions),
        **{c.kind: f"row and column in {c.height} x {c.width} pixels" for c in rasters},
        "default_seconds": config.default_seconds,
        "rounding": describe_rounding(config.rounding),
        "sampling": {name: f"{value:g}" for name, value in sampling.items()},
    }


def voice_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of the acoustic model of a voice; none for another checkpoint."""
    from wavenet.checkpoint_folders import is_voice, resolve_checkpoint
    from wavenet.speech.voice_folder import load_acoustic_model

    folder = resolve_checkpoint(folder)
    if not is_voice(folder):
        return {}
    model = load_acoustic_model(folder)
    count = sum(parameter.numel() for parameter in model.parameters())
    return {
        "voice": "speaks English text; the facts below are those of its vocoder",
        "speakers": list(model.config.speakers),
        "acoustic_parameters": count,
    }


def compressor_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of a compressor, which generates nothing.

    Raises:
        CheckpointError: it is damaged.
    """
    from wavenet.compression.block_coder import PROFILE
    from wavenet.compression.compressor_folder import COMPRESSOR, weights_hash
    from wavenet.network_folder import load_network

    network = load_network(folder, COMPRESSOR)
    return {
        "name": folder.name,
        "compressor": "compresses recordings without loss, with `wavenet compress`",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "layers": len(network.config.dilations),
        "receptive_field": network.config.receptive_field,
        "profile": PROFILE,
        "weights_sha256": weights_hash(folder),
    }


def describe_rounding(costs: "RoundingCosts | None") -> str:
    """Return the cost of rounded weights, and what the precision auto selects on a CPU."""
    if costs is None:
        return "not measured; on a CPU, auto uses fp32"
    parts = [f"{name} {cost.bits:+.5f} bits" for name, cost in costs.costs.items()]
    chosen = next(iter(costs.accepted_precisions()), "fp32")
    return f"{', '.join(parts)} per sample; on a CPU, auto uses {chosen}"


def describe_engines(checkpoint: Path) -> dict[str, Any]:
    """Return for each engine, fastest first, whether it can run the checkpoint on this machine.

    Returns:
        "selected" for the engine that "auto" selects; "available"; or why the engine cannot run
        this model. "cpu, int8" also has the instructions of this machine for int8.
    """
    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for, explain_auto, explain_int8

    model = checkpoints.load(checkpoint, device_for("auto")).model
    reasons = explain_auto(model)
    selected = next(name for name, reason in reasons if not reason)
    found = {
        name: reason or ("selected" if name == selected else "available")
        for name, reason in reasons
    }
    refusal, instructions = explain_int8(model)
    return found | {"cpu, int8": refusal or f"available ({instructions})"}


def _format_value(value: object) -> str:
    if value is None:  # only the receptive field and its duration can be None
        return "unlimited"
    if isinstance(value, dict):
        parts = {name: v if isinstance(v, str) else " ".join(v) for name, v in value.items()}
        return "; ".join(f"{name}: {text}" for name, text in parts.items()) or "none"
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
