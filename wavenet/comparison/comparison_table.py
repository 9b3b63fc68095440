"""The result of a comparison: one row per member and budget, as JSON, text and plots.

Input: the entries with measures. Output: rows, lines of a table, and figures. Called by the command
line.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from wavenet.comparison.plan import Entry
from wavenet.comparison.train_members import read_json, read_records, read_training

SIZE_INCHES = (9.0, 5.0)
HEADS = (
    *("model", "parameters", "MACs", "past", "bits per sample", "95 % interval", "perplexity"),
    *("naive/s", "cached/s", "fastest/s", "training s", "digit %"),
)
# Keys of `measures.json` that the table and the plots need.
MEASURES_KEYS = (
    *("title", "parameters", "macs_per_sample", "receptive_field", "bits_per_sample", "interval"),
    *("perplexity", "samples_per_second", "seconds", "clips"),
)

Row = dict[str, Any]


def read_rows(entries: Sequence[Entry]) -> list[Row]:
    """Return the measures of all measured entries, with the names of member and budget.

    Raises:
        DataError: measures are damaged.
    """
    return [
        {
            "member": entry.member.name,
            "budget": entry.budget.name,
            **read_json(
                entry.measures_file,
                MEASURES_KEYS,
                "delete it and run `wavenet compare report` again",
            ),
        }
        for entry in entries
        if entry.measures_file.exists()
    ]


def format_table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table in Markdown, one budget after the other, best bits first."""
    lines = []
    for budget in dict.fromkeys(row["budget"] for row in rows):
        members = [row for row in rows if row["budget"] == budget]
        lines += ["", f"Budget {budget}:", "", _line(HEADS), _line(["---"] * len(HEADS))]
        lines += [_line(_cells(r)) for r in sorted(members, key=lambda r: r["bits_per_sample"])]
    return lines[1:]


def _cells(row: Row) -> list[str]:
    low, high = row["interval"] or (float("nan"),) * 2
    speeds, field = row["samples_per_second"], row["receptive_field"]
    naive, cached = speeds["naive"], speeds["cached"]
    accuracy = row["clips"].get("accuracy", {})
    digit = next(iter(accuracy.values()))["fraction"] if accuracy else None
    return [
        row["title"],
        f"{row['parameters']:,}",
        f"{row['macs_per_sample']:,}",
        "all" if field is None else f"{field:,}",
        f"{row['bits_per_sample']:.3f}",
        f"{low:.3f} - {high:.3f}",
        f"{row['perplexity']:.1f}",
        f"{naive:,.0f}",
        f"{cached:,.0f}",
        f"{speeds.get('fastest', cached):,.0f}",
        f"{row['seconds']:,.0f}",
        "-" if digit is None else f"{100 * digit:.0f}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plot_bits_against_speed(rows: Sequence[Row]) -> Figure:
    """Draw bits per sample against the speed of the fastest engine; marks grow with the budget."""
    figure, axes = _make_figure("Bits per sample and speed", "samples per second (fastest engine)")
    budgets = list(dict.fromkeys(row["budget"] for row in rows))
    for colour, member, members in _by_member(rows):
        speeds = [
            row["samples_per_second"].get("fastest", row["samples_per_second"]["cached"])
            for row in members
        ]
        bits = [row["bits_per_sample"] for row in members]
        sizes = [20 + 30 * budgets.index(row["budget"]) for row in members]
        axes.scatter(speeds, bits, s=sizes, color=colour, label=member)
        axes.plot(speeds, bits, linewidth=0.7, color=colour)
    axes.set_xscale("log")
    _finish(axes)
    return figure


def plot_bits_against_parameters(rows: Sequence[Row]) -> Figure:
    """Draw bits per sample, with intervals, against the number of parameters."""
    figure, axes = _make_figure("Bits per sample and size", "parameters")
    for colour, member, members in _by_member(rows):
        sizes = [row["parameters"] for row in members]
        bits = [row["bits_per_sample"] for row in members]
        axes.plot(sizes, bits, marker="o", markersize=4, color=colour, label=member)
        for size, row in zip(sizes, members, strict=True):
            if row["interval"] is not None:
                axes.plot([size] * 2, row["interval"], linewidth=1, color=colour)
    axes.set_xscale("log")
    _finish(axes)
    return figure


def plot_training(entries: Sequence[Entry]) -> Figure:
    """Draw bits per sample of the validation against the seconds of training, of one budget."""
    figure, axes = _make_figure("Training", "seconds of training")
    for n, entry in enumerate(entries):
        seconds = read_training(entry)["seconds_by_step"]
        points = [
            (seconds[str(record["step"])], record["bits_per_sample"])
            for record in read_records(entry.run)
            if "bits_per_sample" in record
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, marker="o", markersize=3, color=_colour(n), label=entry.member.title)
    _finish(axes)
    return figure


def _by_member(rows: Sequence[Row]) -> list[tuple[Any, str, list[Row]]]:
    titles = list(dict.fromkeys(row["title"] for row in rows))
    return [
        (_colour(n), title, [row for row in rows if row["title"] == title])
        for n, title in enumerate(titles)
    ]


def _make_figure(title: str, x_label: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel("bits per sample (lower is better)")
    axes.grid(alpha=0.3)
    return figure, axes


def _finish(axes: Any) -> None:
    axes.legend(fontsize=8, ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))


def _colour(n: int) -> Any:
    """Return a colour of a member; twenty differ."""
    return matplotlib.colormaps["tab20"](n % 20)
