"""What the page shows of a comparison: a point and facts of every row, as one message.

Input: a comparison. Output: the message for `comparison_view.js`, which draws it; a selection
therefore needs no request to the server. Called by `compare_events`.
"""

from pathlib import Path
from typing import Any

from wavenet.checkpoint import load_config
from wavenet.errors import WaveNetError
from wavenet.ui.compare.comparison_files import Comparison, Row
from wavenet.ui.page_text import format_duration

Message = dict[str, Any]


def comparison_message(comparison: Comparison, root: Path) -> Message:
    """Return the message of a comparison.

    Args:
        comparison: what is shown.
        root: folder of the checkpoints of the studio.
    Returns:
        rate: Hz, None if it is unknown; budgets: names, the smallest first; rows: points, facts,
        costs, and the name of the member as a model of the page.
    """
    sizes: dict[str, int] = {}
    for row in comparison.rows:
        sizes[row["budget"]] = max(row["parameters"], sizes.get(row["budget"], 0))
    return {
        "rate": find_rate(comparison),
        "budgets": sorted(sizes, key=lambda name: sizes[name]),
        "rows": [
            {
                **_row_message(row),
                "model": comparison.model_name(root, row["member"], row["budget"]),
            }
            for row in comparison.rows
        ],
    }


def find_rate(comparison: Comparison) -> int | None:
    """Return the audio rate of the members, Hz; None if no checkpoint can be read."""
    for member in comparison.members:
        try:
            return load_config(comparison.checkpoint(member)).audio.sample_rate
        except WaveNetError:
            continue
    return None


def _row_message(row: Row) -> Message:
    speeds = row["samples_per_second"]
    cached = speeds.get("cached", speeds.get("fastest"))
    return {
        "member": row["member"],
        "budget": row["budget"],
        "title": row["title"],
        "bits": row["bits_per_sample"],
        "interval": row.get("interval"),
        "speeds": {
            "naive": speeds.get("naive"),
            "cached": cached,
            "fastest": speeds.get("fastest", cached),
        },
        "facts": row_facts(row),
        "costs": row.get("cost_by_past") or [],
    }


def row_facts(row: Row) -> dict[str, str]:
    """Return the measures of a row as text, by name; measures that are absent are omitted."""
    field, interval, bits = row.get("receptive_field"), row.get("interval"), row["bits_per_sample"]
    between = f", 95 % interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
    facts = {
        "Architecture": row.get("architecture", row["member"]),
        "Parameters": _count(row["parameters"]),
        "Multiply-adds per sample": _count(row.get("macs_per_sample")),
        "Receptive field": "all past samples" if field is None else f"{field:,} samples",
        "Bits per sample": f"{bits:.3f}{between}",
        "Perplexity": f"{row.get('perplexity', 2**bits):.1f} codes",
        "Training": _training(row),
        "Labels recognised": _labels(row.get("clips") or {}),
    }
    return {name: text for name, text in facts.items() if text}


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _training(row: Row) -> str:
    if row.get("seconds") is None:
        return ""
    steps = f", {row['steps']:,} steps" if row.get("steps") else ""
    return f"{format_duration(row['seconds'])} of processor time{steps}"


def _labels(clips: Row) -> str:
    """Return the fraction of generated clips with the wanted label, beside that of recordings."""
    real = clips.get("accuracy_of_recordings") or {}
    parts = []
    for name, result in (clips.get("accuracy") or {}).items():
        of_real = f" (recordings {100 * real[name]['fraction']:.0f} %)" if name in real else ""
        parts.append(f"{name} {100 * result['fraction']:.0f} %{of_real}")
    return ", ".join(parts)
