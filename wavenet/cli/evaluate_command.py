"""`wavenet evaluate`: tables of model quality, in comparison with baselines or real recordings."""

import typer

from wavenet.cli.evaluate_digits_command import digits
from wavenet.cli.evaluate_likelihood_command import likelihood
from wavenet.cli.evaluate_rounding_command import rounding
from wavenet.cli.evaluate_speech_command import speech
from wavenet.cli.evaluate_stability_command import stability
from wavenet.cli.evaluate_vocoder_command import vocoder

app = typer.Typer(
    help="Measure the quality of a model, in comparison with baselines.", no_args_is_help=True
)
app.command()(likelihood)
app.command()(rounding)
app.command()(digits)
app.command()(vocoder)
app.command()(speech)
app.command()(stability)


@app.callback()
def evaluate() -> None:
    """Measure the quality of a model, in comparison with baselines."""
