"""`wavenet effects info`: what a model of an amplifier or effect is, and what it costs.

Input: the path of a model. Output: facts on stdout, as lines or JSON. Called by `effects_command`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.effects_options import MODEL_HELP
from wavenet.cli.options import JsonOption, print_message
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.effects.effect_facts import EffectFacts


def info(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    size: Annotated[
        float | None,
        typer.Option(
            "--size", min=0, max=1, help="Of a file with several sizes: 0 smallest, 1 largest."
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Print the architecture, the cost and the metadata of a model."""
    from wavenet.effects.effect_facts import describe_effect
    from wavenet.effects.load_effect import load_effect
    from wavenet.sharing.card_reader import get_licence, read_card

    effect = load_effect(model)
    licence = None if effect.folder is None else get_licence(read_card(effect.folder))
    facts = describe_effect(effect.model_at(), size, licence=licence)
    if json_:
        print_json({"name": effect.name, "knobs": dict(effect.knobs), **facts.as_json()})
        return
    for name, value in format_facts(facts, effect.name, effect.knobs):
        print_line(f"{name:22} {value}")
    print_message(facts.licence)


def format_facts(facts: "EffectFacts", name: str, knobs: "Any") -> list[tuple[str, str]]:
    """Return the lines of a table: name and value."""
    field = facts.receptive_field
    lines = [
        ("name", name),
        ("architecture", facts.architecture),
        ("version", facts.version),
        (
            "sample rate",
            f"{facts.sample_rate:,g} Hz" + ("" if facts.is_rate_known else ", not in the file"),
        ),
        ("weights", f"{facts.weights:,}"),
        (
            "receptive field",
            "unlimited"
            if field is None
            else f"{field:,} samples, {facts.receptive_field_ms:.1f} ms",
        ),
        ("multiply-adds", f"{facts.multiply_adds:,} per sample"),
    ]
    if facts.sizes > 1:
        lines.insert(2, ("sizes", str(facts.sizes)))
    if facts.processor_load is not None:
        lines.append(
            (
                "processor load",
                f"{100 * facts.processor_load:.2g} % of one core ({facts.engine} engine)",
            )
        )
    if facts.offset is not None:
        lines.append(("offset at silence", f"{facts.offset:.2g}"))
    if knobs:
        texts = [f"{knob} {value:g}" for knob, value in knobs.items()]
        lines.append(("knobs", f"{', '.join(texts)} (default)"))
    return lines + [(key, _format_value(value)) for key, value in _flatten(facts.metadata)]


def _flatten(metadata: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the entries of the metadata, those inside others with both names."""
    entries: list[tuple[str, Any]] = []
    for key, value in metadata.items():
        if key == "date" and isinstance(value, dict):
            entries.append(("date", _format_date(value)))
        elif isinstance(value, dict) and not prefix:
            entries += _flatten(value, f"{key} ")
        else:
            entries.append((f"{prefix}{key}".replace("_", " "), value))
    return entries


def _format_date(date: dict[str, Any]) -> str:
    return "-".join(f"{date[part]:>02}" for part in ("year", "month", "day") if part in date)


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[:200]
