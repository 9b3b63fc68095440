"""Common tests of all registered architectures, with a tiny config of each."""

import json
import math
import shutil
from functools import cache

import pytest
import torch

from tests.conftest import RATE, observe_noise, sine
from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.config import parse_config
from wavenet.engines.registry import make_engine
from wavenet.errors import CheckpointError, ModelUnsupported
from wavenet.generation.generate import generate_many, generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.effective_field import ClipInput, measure_effective_field
from wavenet.likelihood.score import score, score_windows
from wavenet.likelihood.step_view import view_steps
from wavenet.model.architectures import ARCHITECTURES
from wavenet.model.statistics_model import StatisticsModel, uses_statistics
from wavenet.sampling import SamplingConfig

# a new architecture needs an entry here, or `test_every_architecture_is_tested` fails
SIZES = {
    "wavenet": {
        "residual_channels": 8,
        "gate_channels": 12,
        "skip_channels": 10,
        "kernel_size": 3,
        "dilations": [1, 2, 4],
    },
    **{
        name: {
            "embedding_channels": 6,
            "hidden_channels": 16,
            "layers": 2,
            "output_channels": 10,
        }
        for name in ("rnn", "gru", "lstm")
    },
    "transformer": {
        "channels": 12,
        "heads": 3,
        "layers": 2,
        "feedforward_channels": 10,
        "context": 20,
    },
    "linear-attention": {"channels": 12, "heads": 3, "layers": 2, "feedforward_channels": 10},
    "made": {
        "window": 12,
        "embedding_channels": 4,
        "hidden_channels": 16,
        "output_channels": 10,
        "masks": 2,
        "orderings": 2,
    },
    "state-space": {"channels": 8, "states": 4, "layers": 2, "output_channels": 10},
    "ngram": {"context_bits": [6, 3]},
    "linear-prediction": {"order": 4, "scale_window": 5},
    **{
        name: {"height": 24, "width": 16, "channels": 8, "layers": 2, "output_channels": 10}
        for name in ("pixelcnn", "gated-pixelcnn", "row-lstm")
    },
}
CONDITIONS = [
    {"kind": "label", "name": "digit", "values": ["a", "b"], "dropout": 0.1},
    {"kind": "number", "name": "level", "low": -60, "high": 0},
    {"kind": "position"},
    {"kind": "loudness", "channels": 4},
]
OUTPUTS = {
    "categorical": ({"bits": 6}, {}),
    "logistic-mixture": ({"law": "pcm16"}, {"output": {"kind": "logistic-mixture"}}),
}
# kinds of conditions of the architectures that do not accept all; their output is categorical
KINDS = {"ngram": ("label",), "linear-prediction": ()}
MIXTURE_ARCHITECTURES = ("wavenet", "gru")  # tested with a mixture without -m slow
VALUES = {"digit": "b", "level": -20.0}
SAMPLES = 300


def test_every_architecture_is_tested():
    assert SIZES.keys() == ARCHITECTURES.keys()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function that returns the folder of a checkpoint, which is saved once."""

    @cache
    def save(architecture, output_name):
        folder = tmp_path_factory.mktemp(f"{architecture}-{output_name}")
        save_checkpoint(folder, architecture, *OUTPUTS[output_name])
        return folder

    return save


def _combine(architecture, output):
    """Return a combination; every architecture computes the params of an output in the same way."""
    is_usual = output == "categorical" or architecture in MIXTURE_ARCHITECTURES
    marks = () if is_usual else pytest.mark.slow
    return pytest.param((architecture, output), id=f"{architecture}-{output}", marks=marks)


@pytest.fixture(
    params=[
        _combine(architecture, output)
        for architecture in SIZES
        for output in OUTPUTS
        if output == "categorical" or architecture not in KINDS
    ]
)
def loaded(request, saved):
    """Load a checkpoint with weights that make predictions differ."""
    return checkpoint.load(saved(*request.param))


def save_checkpoint(folder, architecture, codec, output):
    conditions = [c for c in CONDITIONS if c["kind"] in KINDS.get(architecture, c["kind"])]
    model = {"architecture": architecture, "conditions": conditions, "condition_hop": 7}
    whole = {
        "name": architecture,
        "audio": {"sample_rate": RATE},
        "codec": codec,
        "model": {**model, **SIZES[architecture], **output},
    }
    config = parse_config(CheckpointConfig, json.dumps(whole), "tiny")
    torch.manual_seed(0)
    network = checkpoint.build(config).requires_grad_(False).eval()
    if uses_statistics(network):
        observe_noise(network)
    else:
        for parameter in network.parameters():
            parameter.mul_(2)
        network.output.weight.mul_(10)
    checkpoint.save(folder, config, network)


def values_of(loaded):
    """Return the values of the conditions that the model has."""
    names = [c.name for c in (*loaded.config.model.labels, *loaded.config.model.globals)]
    return {name: value for name, value in VALUES.items() if name in names}


def frames_of(loaded, samples=SAMPLES):
    """Return the frames of a clip; None if the model has no local condition."""
    return torch.linspace(-1, 1, 1 + samples // 7)[:, None] if loaded.config.model.locals else None


def request_of(loaded, samples=SAMPLES, **more):
    frames = frames_of(loaded, samples)
    return GenerationRequest(samples, values_of(loaded), frame_features=frames, **more)


def recording(loaded: Checkpoint):
    """Return codes (1, T) and the conditioning of one clip."""
    codes = loaded.codec.encode(sine(SAMPLES / RATE))[None]
    frames = frames_of(loaded)
    return codes, loaded.model.conditioning(
        [values_of(loaded)], [codes.shape[1]], None if frames is None else [frames]
    )


def test_a_prediction_depends_on_the_past_only(loaded):
    codes, conditioning = recording(loaded)
    params = loaded.model(codes, conditioning)
    changed = codes.clone()
    changed[0, 200] = 0
    after = loaded.model(changed, conditioning)
    assert torch.equal(after[:, :, :201], params[:, :, :201])
    assert not torch.equal(after[:, :, 201], params[:, :, 201])


def test_steps_equal_the_parallel_pass(loaded):
    codes, conditioning = recording(loaded)
    engine = make_engine("cached", loaded.model)
    expected = loaded.model(codes, conditioning)[0].T
    state, found = engine.start(conditioning), []
    for t in range(SAMPLES):
        found.append(engine.predict(state)[0])
        engine.accept(state, codes[:, t])
    torch.testing.assert_close(torch.stack(found), expected, rtol=1e-4, atol=1e-4)
    # negative control: a memory that starts at another code
    state = engine.start(conditioning)
    engine.accept(state, torch.zeros(1, dtype=torch.int64))
    assert not torch.allclose(engine.predict(state)[0], expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", [[300], [1, 299], [7, 100, 193], [64] * 4 + [44]])
def test_a_carried_memory_equals_the_whole_pass(loaded, sizes):
    codes, conditioning = recording(loaded)
    model = loaded.model
    inputs = torch.nn.functional.pad(codes[:, :-1], (1, 0), value=model.start_code)
    whole = model.hidden_states(inputs, conditioning)
    memory, first, parts = model.initial_memory(1), 0, []
    for size in sizes:
        part = inputs[:, first : first + size]
        parts.append(model.hidden_states(part, conditioning, torch.tensor([first]), memory))
        first += size
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_a_memory_that_is_not_carried_is_noticed(loaded):
    codes, conditioning = recording(loaded)
    model = loaded.model
    whole = model.hidden_states(codes, conditioning)
    part = model.hidden_states(codes[:, 100:], conditioning, torch.tensor([100]))
    assert not torch.allclose(part[:, 0], whole[:, 100], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window, samples", [(1, 20), (17, 100), (100, SAMPLES)])
def test_scores_do_not_depend_on_the_window(loaded, window, samples):
    waveform = sine(samples / RATE)
    whole = score(loaded, waveform, values_of(loaded)).surprise
    parts = torch.cat(list(score_windows(loaded, waveform, values_of(loaded), window=window)))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)


def test_a_score_is_the_log_probability_of_the_codes(loaded):
    codes, conditioning = recording(loaded)
    frames = frames_of(loaded)
    expected = -loaded.model.distribution.log_prob(loaded.model(codes, conditioning), codes)[0]
    waveform = sine(SAMPLES / RATE)
    found = score(loaded, waveform, values_of(loaded), frame_features=frames).surprise
    torch.testing.assert_close(
        found.double() * math.log(2), expected.double(), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("engine", ["reference", "graph"])
def test_engines_draw_the_same_codes(loaded, engine):
    requests = [
        GenerationRequest(
            40,
            values_of(loaded),
            seed=n,
            prompt=sine(0.01) if n else None,
            frame_features=frames_of(loaded, 40 + (80 if n else 0)),
        )
        for n in range(3)
    ]
    cached = generate_waveforms(loaded, requests, engine="cached")
    other = generate_waveforms(loaded, requests, engine=engine)
    # one of 65,536 codes of a mixture is so narrow that rounding can select its neighbour
    most = 0.0 if loaded.config.model.output.kind == "categorical" else 1.5 / 32768
    assert all(float((a - b).abs().max()) <= most for a, b in zip(cached, other, strict=True))
    assert float((cached[1] - cached[2]).abs().max()) > 0.1


def test_a_clip_does_not_depend_on_its_neighbours(loaded):
    requests = [request_of(loaded, 10 + 8 * n, seed=n) for n in range(4)]
    alone = [generate_waveforms(loaded, [request])[0] for request in requests]
    clips = {c.index: c.waveform for c in generate_many(loaded, requests, max_active=2)}
    assert all(torch.equal(clips[n], alone[n]) for n in range(4))


def test_guidance_changes_a_clip(loaded):
    if loaded.config.model.output.kind != "categorical" or not loaded.config.model.droppable:
        pytest.skip("guidance needs a categorical output and a condition with dropout")
    plain, guided = (
        generate_waveforms(loaded, [request_of(loaded, 60)], SamplingConfig(guidance=w))[0]
        for w in (1.0, 3.0)
    )
    assert not torch.equal(plain, guided)


def test_auto_finds_an_engine_and_a_description_is_there(loaded):
    assert make_engine("auto", loaded.model).name in ("cpu", "cached")
    facts = loaded.model.describe()
    assert facts["architecture"] == loaded.config.model.architecture
    assert facts["parameters"] == loaded.model.parameter_count
    assert loaded.config.model.approximate_parameters >= 0.8 * facts["parameters"]


def test_only_a_wavenet_has_a_compiled_engine(loaded):
    if loaded.config.model.architecture == "wavenet":
        make_engine("cpu", loaded.model)
        return
    with pytest.raises(ModelUnsupported, match="WaveNet"):
        make_engine("cpu", loaded.model)


def test_the_steps_of_a_clip_are_its_predictions(loaded):
    """For every architecture; the activations of layers only for a WaveNet."""
    codes, conditioning = recording(loaded)
    steps = view_steps(loaded, request_of(loaded), codes[0], 250)
    expected = loaded.model(codes, conditioning)[0].T
    torch.testing.assert_close(steps.params, expected[250:], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(steps.params, expected[249:-1], rtol=1e-4, atol=1e-4)  # control
    is_wavenet = loaded.config.model.architecture == "wavenet"
    assert (steps.activations is not None) == is_wavenet


def test_the_influence_of_past_samples_is_measured(loaded):
    codes, _ = recording(loaded)
    clip = ClipInput(codes[0], values_of(loaded), frames_of(loaded))
    if isinstance(loaded.model, StatisticsModel):
        with pytest.raises(ModelUnsupported, match="embeds each sample"):
            measure_effective_field(loaded, [clip], 3)
        return
    *_, field = measure_effective_field(loaded, [clip], 3)
    assert field.predictions == 3
    # half of the clip if the receptive field is unlimited
    assert field.influence.numel() == (loaded.model.receptive_field or SAMPLES // 2)
    assert field.influence[0] > 0
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


def test_weights_of_another_architecture_do_not_load(loaded, tmp_path):
    folder = shutil.copytree(loaded.folder, tmp_path / "other")
    other = next(name for name in ARCHITECTURES if name != loaded.config.model.architecture)
    config = json.loads((folder / "config.json").read_text())
    kept = {k: config["model"][k] for k in ("conditions", "condition_hop", "output")}
    config["model"] = {**kept, "architecture": other, **SIZES[other]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="tensor"):
        checkpoint.load(folder)
