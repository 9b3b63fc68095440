"""What a press of Measure does: the transfer curve and the harmonics of an effect, drawn.

Input: values of the widgets by name. Output: HTML. The effect is measured with the input gain, the
mix and the oversampling of the page, without the cabinet. Called by `effects_tab`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wavenet.effects.distortion import (
    LEVELS_DB,
    Distortion,
    TransferCurve,
    measure_distortion,
    measure_transfer,
)
from wavenet.effects.rendering.effect_chain import EffectChain
from wavenet.errors import ConditionError
from wavenet.ui.curve_plot import PlotAxis, curve_plot
from wavenet.ui.effects.effect_choices import choose_effect, knob_values
from wavenet.ui.effects.render_job import make_chain_settings
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors
from wavenet.ui.templates import render

_HERTZ_TICKS = ((100, "100"), (300, "300"), (1000, "1k"), (3000, "3k"))
_LOWEST_THD, _HIGHEST_THD = 0.0001, 3.0
_THD_TICKS = ((0.0001, "0.01 %"), (0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %"))


def run_measurement(
    page: Page,
    *,
    effect: str | None,
    upload: str | None,
    input_gain: float | None,
    output_trim: float | None,
    mix: float | None,
    oversampling: str | None,
    removes_offset: bool | None,
    **knobs: Any,
) -> dict[str, Any]:
    """Return HTML of both plots."""
    with convert_user_errors():
        chosen = choose_effect(page.root, effect, upload)
        model, _ = chosen.model_at(knob_values(knobs))
        if not float(model.rate).is_integer():
            raise ConditionError(
                f"the effect has the rate {model.rate:g} Hz; expected a whole number"
            )
        settings = make_chain_settings(input_gain, output_trim, mix, oversampling, removes_offset)
        chain = EffectChain(model, int(model.rate), settings)

        def run(sine: Any) -> Any:
            return chain.render(sine.astype(np.float32))

        with page.turns.turn():
            curve = measure_transfer(run, int(model.rate))
            table = measure_distortion(run, int(model.rate))
        return {"measured": draw_measurement(curve, table)}


def draw_measurement(curve: TransferCurve, table: Sequence[Distortion]) -> str:
    """Return HTML of the transfer curve and of the distortion.

    Raises:
        ConditionError: the output of the effect is not finite.
    """
    if not np.isfinite(curve.outputs).all():
        raise ConditionError(
            "the effect has an output that is not finite, so it cannot be measured"
        )
    plots = [_transfer_plot(curve), _distortion_plot(table)]
    return render("effects/measurement.html", plots=plots, hertz=f"{curve.frequency:.0f}")


def _transfer_plot(curve: TransferCurve) -> str:
    peak = max(1e-6, float(np.abs(curve.outputs).max()))
    outer = _round_up(peak)
    x_axis = PlotAxis("input", -1, 1, _symmetric_ticks(1))
    points = [*zip(curve.inputs, curve.outputs, strict=True)]
    closed = [(float(x), float(y)) for x, y in (*points, points[0])]
    y_axis = PlotAxis("output", -outer, outer, _symmetric_ticks(outer))
    return curve_plot("Transfer curve", x_axis, y_axis, [("output", closed)])


def _distortion_plot(table: Sequence[Distortion]) -> str:
    x_axis = PlotAxis("frequency (Hz)", 70, 6000, _HERTZ_TICKS, is_log=True)
    y_axis = PlotAxis("distortion (THD)", _LOWEST_THD, _HIGHEST_THD, _THD_TICKS, is_log=True)
    curves = [
        (
            f"{level:+.0f} dB".replace("-", "−").replace("+0", "0"),
            [(row.frequency, row.thd) for row in table if row.level_db == level],
        )
        for level in reversed(LEVELS_DB)
    ]
    return curve_plot("Harmonic distortion by level of the input", x_axis, y_axis, curves)


def _symmetric_ticks(end: float) -> list[tuple[float, str]]:
    values = [end * share for share in (-1, -0.5, 0, 0.5, 1)]
    return [(value, f"{value:g}".replace("-", "−")) for value in values]


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, ... times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * (1 - 1e-9))
