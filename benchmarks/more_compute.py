"""Predict the result of a longer training: bits per sample against samples, and a fitted curve.

    python benchmarks/more_compute.py runs/digits [--out curve.png]

Reads `metrics.jsonl` of a run. A power law with a floor, a + b * samples^-c, is fitted to the
validations while the learning rate was above nine tenths of its maximum: it predicts a longer run
at that rate. The decay of the learning rate lowers the bits further: by the difference between that
curve and the last validation. The forecast for k times the samples is the curve there minus that
difference. It holds for the same model on the same recordings, if nothing else limits it, such as
overfitting. The last line is one JSON document.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import curve_fit

from audio_utils import plots

FACTORS = (1, 2, 4, 10)
HIGH_RATE = 0.9  # of the maximum
MIN_VALIDATIONS = 5  # at a high rate


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays with one row per validation.

    Returns:
        Millions of samples and bits per sample (V, 2); the learning rate relative to its maximum
        (V,).
    """
    samples, points, rates, maximum = 0.0, [], [], 0.0
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        samples += record["samples"] / 1e6
        maximum = max(maximum, record["learning_rate"])
        if "bits_per_sample" in record:
            points.append((samples, record["bits_per_sample"]))
            rates.append(record["learning_rate"])
    return np.array(points), np.array(rates) / maximum


def power_law(samples: np.ndarray, floor: float, size: float, power: float) -> np.ndarray:
    """Compute bits after a number of samples, in millions."""
    return floor + size * samples**-power


def main() -> None:
    """Fit, forecast and plot; print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    points, rates = read(options.run / "metrics.jsonl")
    fitted = points[rates >= HIGH_RATE]
    if len(fitted) < MIN_VALIDATIONS:
        raise SystemExit(
            f"{len(fitted)} validations at a high rate; at least {MIN_VALIDATIONS} are needed"
        )
    power_law_params, covariance = curve_fit(
        power_law, *fitted.T, p0=(3.5, 2, 0.5), bounds=([0, 0, 0.05], [8, 50, 3]), maxfev=20_000
    )
    samples, bits = points[-1]
    decay_gain = float(power_law(samples, *power_law_params) - bits)
    forecast = {k: float(power_law(k * samples, *power_law_params) - decay_gain) for k in FACTORS}
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*points.T, linestyle="", marker="o", markersize=4, label="validations")
    along = np.geomspace(fitted[0, 0], samples * FACTORS[-1], 200)
    axes.plot(along, power_law(along, *power_law_params), linewidth=1, label="high rate, fitted")
    axes.plot(
        [k * samples for k in FACTORS],
        list(forecast.values()),
        linestyle="--",
        marker="s",
        markersize=4,
        label="after the decay, forecast",
    )
    axes.set_xscale("log")
    axes.set_xlabel("million samples")
    axes.set_ylabel("bits per sample, held out")
    axes.grid(linewidth=0.4, color="0.85")
    axes.legend(frameon=False, fontsize=9)
    if options.out is not None:
        plots.save_figure(figure, options.out)
    for k, value in forecast.items():
        print(f"{k:3} x {samples:.0f} million samples: {value:.3f} bits per sample")
    deviations = np.sqrt(np.diag(covariance)).tolist()
    results = {"million_samples": samples, "bits": bits, "decay_gain": decay_gain}
    results["power_law"] = power_law_params.tolist()
    print(json.dumps({**results, "deviations": deviations, "forecast": forecast}))


if __name__ == "__main__":
    main()
