"""What would a longer training give? Bits per sample against samples seen, and a curve through it.

    python benchmarks/more_compute.py runs/digits [--out curve.png]

Reads `metrics.jsonl` of a run. A power law with a floor, a + b * samples^-c, goes through the
validations made while the learning rate was above nine tenths of its highest: what a longer run
would show at that rate. What the fall of the rate gave is the distance of the last validation from
that curve at its place. A forecast for k times the samples is the curve there less that distance.
It says what the same model would reach on the same recordings if nothing else came in the way, such
as learning them by heart. The last line is one JSON document.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import curve_fit

from audio_utils import plots

FACTORS = (1, 2, 4, 10)
HIGH = 0.9  # of the highest rate
FEWEST = 5  # validations at such rates


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Give (V, 2) samples seen, in millions, and bits of every validation, and its rate (V,)."""
    seen, points, rates, highest = 0.0, [], [], 0.0
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        seen += record["samples"] / 1e6
        highest = max(highest, record["learning_rate"])
        if "bits_per_sample" in record:
            points.append((seen, record["bits_per_sample"]))
            rates.append(record["learning_rate"])
    return np.array(points), np.array(rates) / highest


def law(samples: np.ndarray, floor: float, size: float, power: float) -> np.ndarray:
    """Give bits at so many million samples."""
    return floor + size * samples**-power


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    points, rates = read(options.run / "metrics.jsonl")
    fitted = points[rates >= HIGH]
    if len(fitted) < FEWEST:
        raise SystemExit(f"{len(fitted)} validations at a high rate; {FEWEST} are needed")
    best, spread = curve_fit(
        law, *fitted.T, p0=(3.5, 2, 0.5), bounds=([0, 0, 0.05], [8, 50, 3]), maxfev=20_000
    )
    samples, bits = points[-1]
    fall = float(law(samples, *best) - bits)
    forecast = {k: float(law(k * samples, *best) - fall) for k in FACTORS}
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*points.T, linestyle="", marker="o", markersize=4, label="validations")
    along = np.geomspace(fitted[0, 0], samples * FACTORS[-1], 200)
    axes.plot(along, law(along, *best), linewidth=1, label="high rate, fitted")
    axes.plot(
        [k * samples for k in FACTORS],
        list(forecast.values()),
        linestyle="--",
        marker="s",
        markersize=4,
        label="rate fallen, forecast",
    )
    axes.set_xscale("log")
    axes.set_xlabel("million samples seen")
    axes.set_ylabel("bits per sample, held out")
    axes.grid(linewidth=0.4, color="0.85")
    axes.legend(frameon=False, fontsize=9)
    if options.out is not None:
        plots.save_figure(figure, options.out)
    for k, value in forecast.items():
        print(f"{k:3} x {samples:.0f} million samples: {value:.3f} bits per sample")
    deviations = np.sqrt(np.diag(spread)).tolist()
    found = {"million_samples": samples, "bits": bits, "fall": fall, "law": best.tolist()}
    print(json.dumps({**found, "deviations": deviations, "forecast": forecast}))


if __name__ == "__main__":
    main()
