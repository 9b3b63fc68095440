"""Draw figures that explain concepts, docs/figures/concept-NAME.png, by the project's code.

python scripts/docs_figures.py                 # all figures
python scripts/docs_figures.py codec noise     # some
python scripts/docs_figures.py --out DIR       # into another folder

Uses the checkpoint digits. The same versions of the packages draw the same files.
"""

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audio_utils.example_sound import make_example_sound
from audio_utils.features import FeatureConfig, log_mel
from wavenet import checkpoint
from wavenet.codec import MuLawCodec
from wavenet.engines.registry import make_engine
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.effective_field import ClipInput, prediction_gradients
from wavenet.likelihood.score import score
from wavenet.likelihood.step_view import draw_first_codes, view_steps
from wavenet.model.architectures import build_model
from wavenet.model.convolution_geometry import ConvolutionStack
from wavenet.model.gated_pixel_cnn import GatedPixelCNNConfig
from wavenet.model.image_model import ImageConfig
from wavenet.model.model_config import ModelConfig
from wavenet.model.pixel_cnn import PixelCNNConfig
from wavenet.model.recurrent import GRUConfig, LSTMConfig, RNNConfig
from wavenet.model.row_lstm import RowLSTMConfig
from wavenet.model.wavenet import WaveNetConfig
from wavenet.sampling import SamplingConfig, probabilities

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
BLUE, ORANGE, GREEN, GREY = "#31688e", "#d95f02", "#1b7837", "#9a9a9a"
matplotlib.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 11,
        "font.size": 10,
        "savefig.facecolor": "white",
    }
)


@cache
def load_digits() -> checkpoint.Checkpoint:
    """Return the shipped checkpoint digits."""
    return checkpoint.load("digits")


def request(digit: int, speaker: str, seed: int = 0, samples: int = 3360) -> GenerationRequest:
    """Return a request for a spoken digit."""
    return GenerationRequest(samples, {"digit": str(digit), "speaker": speaker}, seed)


def make_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def draw_codec() -> Figure:
    """Draw the mu-law curve with 16 codes, and the step between two codes."""
    figure = make_figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    coarse = MuLawCodec(bits=4)
    x = torch.linspace(-1, 1, 4001)
    companded = x.sign() * torch.log1p(255 * x.abs()) / np.log(256)
    left.plot(x, coarse.encode(x), color=BLUE, linewidth=1.5, label="code, 4 bits")
    left.plot(
        x, (companded + 1) / 2 * 15, color=ORANGE, linewidth=1, label="curve of 8 bits, scaled"
    )
    left.set(xlabel="sample x", ylabel="code", title="Small samples get most codes")
    left.legend(frameon=False)
    fine = MuLawCodec(bits=8)
    values = fine.decode(torch.arange(128, 256)).double()
    right.loglog(values[1:], values.diff(), color=BLUE, label="mu-law, 8 bits")
    for bits, colour in ((8, ORANGE), (16, GREEN)):
        step = 2.0 ** (1 - bits)
        right.loglog([step, 1], [step, step], color=colour, label=f"linear, {bits} bits")
    right.set(xlabel="|x|", ylabel="step to the next code", title="The step grows with the sample")
    right.legend(frameon=False)
    return figure


Node = tuple[int, int]  # samples before the newest (0 or negative), layer (0: the input)


def dependencies(stack: ConvolutionStack) -> set[Node]:
    """Return all values that the newest output depends on."""
    needed, found = {0}, {(0, len(stack.dilations))}
    for layer, dilation in reversed(list(enumerate(stack.dilations))):
        needed = {n + offset for n in needed for offset in stack.tap_offsets(dilation)}
        found |= {(n, layer) for n in needed}
    return found


def draw_stack(
    axes: Axes, stack: ConvolutionStack, title: str, computed: set[Node], read: set[Node]
) -> None:
    """Draw the values of all layers; those that are computed have lines to their inputs."""
    layers, width = len(stack.dilations), stack.sizes()[-1] + 1
    for layer in range(layers + 1):
        for n in range(1 - width, 1):
            node = (n, layer)
            colour = ORANGE if node in computed else GREEN if node in read else "#d8d8d8"
            axes.plot(n, layer, "o", color=colour, markersize=5, zorder=2)
            if layer and node in computed:
                for offset in stack.tap_offsets(stack.dilations[layer - 1]):
                    line = [n + offset, n], [layer - 1, layer]
                    axes.plot(*line, color=ORANGE, linewidth=0.9, zorder=1)
    names = [f"layer {n}, dilation {d}" for n, d in enumerate(stack.dilations, start=1)]
    axes.set_yticks(range(layers + 1), ["input", *names])
    axes.set(title=title, xlim=(-16.7, 0.7))
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)


def draw_receptive_field() -> Figure:
    """Draw the receptive field of four layers, with and without dilation."""
    figure = make_figure(9, 5.2)
    upper, lower = figure.subplots(2, 1)
    stack = ConvolutionStack(kernel_size=2, dilations=(1, 2, 4, 8))
    plain = stack.undilated
    title = f"Dilations 1, 2, 4, 8: the newest output depends on {stack.sizes()[-1]} samples"
    draw_stack(upper, stack, title, dependencies(stack), set())
    title = f"No dilation: {plain.sizes()[-1]} samples, with as many layers"
    draw_stack(lower, plain, title, dependencies(plain), set())
    lower.set_xlabel("samples before the newest")
    return figure


def draw_conditions() -> Figure:
    """Draw the mel spectrograms of four clips that differ in their conditions only."""
    model = load_digits()
    chosen = [(7, "theo"), (7, "jackson"), (3, "theo"), (3, "jackson")]
    clips = generate_waveforms(model, [request(*pair) for pair in chosen])
    figure = make_figure(9, 4.2)
    config = FeatureConfig(model.sample_rate, n_fft=512, win_length=256, hop_length=32, n_mels=40)
    for axes, pair, clip in zip(figure.subplots(2, 2).flat, chosen, clips, strict=True):
        levels = log_mel(clip, config)
        seconds = clip.numel() / model.sample_rate
        axes.imshow(
            levels,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=float(levels.max()) - 70,
            extent=(0, seconds, 0, config.n_mels),
        )
        axes.set(title=f"digit={pair[0]}, speaker={pair[1]}", xlabel="seconds", ylabel="mel band")
    return figure


def draw_likelihood() -> Figure:
    """Draw a clip and the surprise of its samples."""
    model = load_digits()
    wanted = request(7, "theo")
    (clip,) = generate_waveforms(model, [wanted])
    found = score(model, clip, wanted.conditions)
    seconds = torch.arange(clip.numel()) / model.sample_rate
    figure = make_figure(9, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(seconds, clip, color=BLUE, linewidth=0.7)
    upper.set(ylabel="amplitude", title="A generated seven, and the surprise of each sample")
    lower.plot(seconds, found.surprise, ".", color=GREY, markersize=2, label="one sample")
    counts = np.convolve(np.ones(clip.numel()), np.ones(81), "same")
    smooth = np.convolve(found.surprise, np.ones(81), "same") / counts
    lower.plot(seconds, smooth, color=ORANGE, linewidth=1.4, label="mean of 10 ms")
    mean = found.bits_per_sample
    lower.axhline(mean, color=BLUE, linewidth=1, label=f"mean of the clip: {mean:.2f} bits")
    lower.axhline(
        8, color="black", linewidth=0.8, linestyle="--", label="all 256 codes equal: 8 bits"
    )
    lower.set(xlabel="seconds", ylabel="bits", ylim=(0, 13))
    lower.legend(frameon=False, ncols=2, loc="upper right", markerscale=4, fontsize=9)
    return figure


def draw_sampling() -> Figure:
    """Draw one prediction under several sampling settings, and how a uniform selects a code."""
    model = load_digits()
    wanted = request(7, "theo", samples=1400)
    codes = torch.cat(list(draw_first_codes(model, wanted, 1400)))
    params = view_steps(model, wanted, codes, 1399).params[0]
    figure = make_figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    settings = {
        "temperature 1": (SamplingConfig(), BLUE),
        "temperature 0.6": (SamplingConfig(temperature=0.6), ORANGE),
        "top-p 0.8": (SamplingConfig(top_p=0.8), GREEN),
    }
    for name, (sampling, colour) in settings.items():
        left.step(
            range(256), probabilities(params, sampling), where="mid", color=colour, label=name
        )
    plain = probabilities(params, SamplingConfig())
    low, high = (int(v) for v in torch.where(plain > 0.001)[0][[0, -1]])
    left.set(xlabel="code", ylabel="probability", xlim=(low - 3, high + 3))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_title("One prediction, three settings")
    left.legend(frameon=False)
    cdf = plain.cumsum(0)
    uniform = float(uniform_noise(0, 0, 1400, 1))
    code = int((cdf <= uniform).sum())
    right.step(range(256), cdf, where="mid", color=BLUE)
    right.plot([low - 3, code, code], [uniform, uniform, 0], color=ORANGE)
    right.set(xlabel="code", ylabel="cumulative probability", xlim=(low - 3, high + 3), ylim=(0, 1))
    right.set_title(f"The uniform {uniform:.3f} selects the code {code}")
    return figure


def draw_engines() -> Figure:
    """Draw what two engines compute for one more sample."""
    figure = make_figure(9, 5.2)
    upper, lower = figure.subplots(2, 1)
    stack = ConvolutionStack(kernel_size=2, dilations=(1, 2, 4, 8))
    everything = dependencies(stack)
    title = f"Without memory: {len(everything)} values are computed for one sample"
    draw_stack(upper, stack, title, everything, set())
    newest = {(0, layer) for layer in range(len(stack.dilations) + 1)}
    read = {(stack.tap_offsets(d)[0], layer) for layer, d in enumerate(stack.dilations)}
    title = f"With ring buffers: {len(newest)} values are computed; those in green are stored"
    draw_stack(lower, stack, title, newest, read)
    lower.set_xlabel("samples before the newest")
    return figure


def measure_gradients(config: ModelConfig, span: int, forget_bias: float = 0.0) -> torch.Tensor:
    """Return gradient norms of a model with random weights, relative to the newest: (span,).

    Args:
        config: of a model without conditions.
        span: samples before the prediction.
        forget_bias: added to the forget gates of an LSTM.
    """
    torch.manual_seed(0)
    codec = MuLawCodec()
    # in float32, small gradients would be zero
    model = build_model(config, codec, 8000).double().requires_grad_(False).eval()
    if isinstance(config, LSTMConfig):
        hidden = config.hidden_channels
        model.get_parameter("recurrent.bias_ih_l0")[hidden : 2 * hidden] += forget_bias
    clip = ClipInput(codec.encode(make_example_sound(8000)))
    places = [span + 500 * n for n in range(4)]
    norms = prediction_gradients(model, [clip] * len(places), places, span).mean(0)
    return norms / norms[0]


def draw_recurrence() -> Figure:
    """Draw gradient norms over time for random weights: three recurrent models and a WaveNet."""
    digits = load_digits().config.model
    assert isinstance(digits, WaveNetConfig)
    wavenet = WaveNetConfig(**{**dict(digits), "conditions": ()})
    span = wavenet.receptive_field
    curves: dict[str, tuple[ModelConfig, float, str]] = {
        "RNN": (RNNConfig(), 0, GREY),
        "GRU": (GRUConfig(), 0, ORANGE),
        "LSTM": (LSTMConfig(), 0, GREEN),
        "LSTM, forget bias 5": (LSTMConfig(), 5, "black"),
        "WaveNet digits": (wavenet, 0, BLUE),
    }
    figure = make_figure(9, 4.2)
    axes = figure.subplots()
    for name, (config, bias, colour) in curves.items():
        norms = measure_gradients(config, span, bias)
        axes.loglog(range(1, span + 1), norms, color=colour, linewidth=1.3, label=name)
    axes.set(
        xlabel="samples before the prediction",
        ylabel="gradient norm / that of the newest sample",
        title="Random weights: how far back a gradient reaches",
        xlim=(1, 2 * span),
        ylim=(1e-12, 1e4),
    )
    axes.invert_xaxis()
    axes.legend(frameon=False)
    return figure


def pixels_read(config: ImageConfig, row: int, column: int) -> torch.Tensor:
    """Return which pixels the prediction of a pixel reads, by gradients: (height, width) bool."""
    torch.manual_seed(0)
    codec = MuLawCodec(bits=4)
    model = build_model(config, codec, 8000).double().requires_grad_(False).eval()
    codes = torch.randint(codec.n_classes, (16, config.height * config.width))
    index = row * config.width + column
    norms = prediction_gradients(model, [ClipInput(c) for c in codes], [index] * 16, index)
    read = torch.zeros(config.height * config.width, dtype=torch.bool)
    read[:index] = norms.sum(0).flip(0) > 0
    return read.unflatten(0, (config.height, config.width))


def draw_blind_spot() -> Figure:
    """Draw the pixels that the prediction of one pixel reads, in three models of images."""
    height, width, row, column = 9, 13, 6, 5
    size = {"height": height, "width": width, "channels": 8, "output_channels": 8}
    models: dict[str, ImageConfig] = {
        "PixelCNN, 12 layers": PixelCNNConfig(**size, layers=12),
        "gated PixelCNN, 12 layers": GatedPixelCNNConfig(**size, layers=12),
        "Row LSTM, 1 layer": RowLSTMConfig(**size, layers=1),
    }
    index = torch.arange(height * width).unflatten(0, (height, width))
    figure = make_figure(9, 2.9)
    for axes, (name, config) in zip(figure.subplots(1, 3), models.items(), strict=True):
        is_earlier = index < row * width + column
        values = is_earlier.int() + pixels_read(config, row, column).int()  # 0 later, 1 blind, 2
        values[row, column] = 3
        colours = ListedColormap(["#ececec", ORANGE, BLUE, "black"])
        axes.pcolormesh(values, cmap=colours, vmin=0, vmax=3, edgecolors="white", linewidth=1)
        axes.set(title=name, aspect="equal", xticks=[], yticks=[])
        axes.invert_yaxis()
        for side in axes.spines.values():
            side.set_visible(False)
        blind = int((values == 1).sum())
        axes.set_xlabel(f"{blind} of {int(is_earlier.sum())} earlier pixels are not read")
    return figure


def draw_noise() -> Figure:
    """Draw clips of three seeds, and the first seed again in other chunks by another engine."""
    model = load_digits()
    figure = make_figure(9, 4.6)
    rows = figure.subplots(4, 1, sharex=True)
    requests = [request(7, "theo", seed) for seed in range(3)]
    clips = generate_waveforms(model, requests, engine=make_engine("cpu", model.model))
    slow = make_engine("cached", model.model)
    (again,) = generate_waveforms(model, requests[:1], engine=slow)
    names = ["seed 0", "seed 1", "seed 2", "seed 0,\nengine cached"]
    colours = [BLUE, GREEN, GREY, BLUE]
    for axes, clip, name, colour in zip(rows, [*clips, again], names, colours, strict=True):
        seconds = torch.arange(clip.numel()) / model.sample_rate
        axes.plot(seconds, clip, color=colour, linewidth=0.7)
        axes.set_yticks([])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    rows[-1].set_xlabel("seconds")
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "codec": draw_codec,
    "receptive-field": draw_receptive_field,
    "conditions": draw_conditions,
    "likelihood": draw_likelihood,
    "sampling": draw_sampling,
    "engines": draw_engines,
    "noise": draw_noise,
    "recurrence": draw_recurrence,
    "blind-spot": draw_blind_spot,
}


def main() -> None:
    """Draw the figures of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *FIGURES], help="default: all")
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or FIGURES:
        path = arguments.out / f"concept-{name}.png"
        FIGURES[name]().savefig(path, dpi=130, metadata={"Software": None})
        print(path)


if __name__ == "__main__":
    main()
