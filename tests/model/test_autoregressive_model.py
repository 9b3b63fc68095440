"""`AutoregressiveModel`: the parallel pass, chunks of it and single steps agree."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import make_condition_values, make_frame_features, tiny_config, tiny_model
from wavenet.codec import MuLawCodec, Pcm16Codec
from wavenet.model.architectures import ARCHITECTURES, build_model
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import interpolate
from wavenet.model.conditions import RasterCondition
from wavenet.model.image_model import ImageConfig, ImageModel
from wavenet.model.linear_attention import LinearAttentionConfig
from wavenet.model.linear_prediction import LinearPredictionConfig
from wavenet.model.made import MADEConfig
from wavenet.model.model_config import LogisticOutput, ModelConfig
from wavenet.model.ngram import NGramConfig
from wavenet.model.recurrent import RecurrentConfig
from wavenet.model.state_space import StateSpaceConfig
from wavenet.model.statistics_model import StatisticsModel
from wavenet.model.transformer import TransformerConfig
from wavenet.model.wavenet import WaveNetConfig

SAMPLES = 60
ROWS = 3


def recurrent_config(name: str, wavenet: WaveNetConfig, layers: int = 1) -> RecurrentConfig:
    """Return a small recurrent model with the conditions and the output of a WaveNet."""
    return ARCHITECTURES[name].config(
        **shared_settings(wavenet),
        embedding_channels=6,
        hidden_channels=12,
        layers=layers,
        output_channels=10,
    )


def shared_settings(wavenet: WaveNetConfig) -> dict[str, object]:
    """Return the settings that all architectures have, such as conditions and output."""
    names = [name for name in ModelConfig.model_fields if name != "architecture"]
    return {name: getattr(wavenet, name) for name in names}


def made_config(wavenet: WaveNetConfig, window: int = 8, layers: int = 1) -> MADEConfig:
    """Return a small MADE with the conditions and the output of a WaveNet."""
    return MADEConfig(
        **shared_settings(wavenet),
        window=window,
        embedding_channels=4,
        hidden_channels=12,
        layers=layers,
        output_channels=10,
        masks=2,
        orderings=2,
    )


def state_space_config(wavenet: WaveNetConfig, layers: int = 2) -> StateSpaceConfig:
    """Return a small state-space model with the conditions and the output of a WaveNet."""
    return StateSpaceConfig(
        **shared_settings(wavenet), channels=12, states=8, layers=layers, output_channels=10
    )


def attention_config(config_class, wavenet: WaveNetConfig, **sizes):
    """Return a small model with attention, with the conditions and the output of a WaveNet."""
    shared = {name: getattr(wavenet, name) for name in ModelConfig.model_fields}
    del shared["architecture"]
    widths = {"channels": 12, "heads": 2, "layers": 2, "feedforward_channels": 10}
    return config_class(**shared, **{**widths, **sizes})


def image_config(name: str, wavenet: WaveNetConfig, **sizes) -> ImageConfig:
    """Return a small model of images with the conditions and the output of a WaveNet."""
    widths = {"height": 18, "width": 18, "channels": 6, "layers": 2, "output_channels": 10}
    return ARCHITECTURES[name].config(**shared_settings(wavenet), **{**widths, **sizes})


# some small configs of every registered architecture
PLAIN = tiny_config(conditions="none")
CONDITIONED = tiny_config(conditions="all")
MIXTURE = tiny_config(conditions="all", output=LogisticOutput(components=2))
PIXELS = WaveNetConfig(
    **{**dict(PLAIN), "conditions": (RasterCondition(height=18, width=13),), "condition_hop": 1}
)
CONFIGS = {
    "wavenet": {
        "plain": PLAIN,
        "kernel 1": tiny_config(kernel_size=1, conditions="all"),
        "kernel 2": CONDITIONED,
        "kernel 3": tiny_config(kernel_size=3, dilations=(1, 2, 4), conditions="all"),
        "mixture": MIXTURE,
        "pixels": PIXELS,
    },
    **{
        name: {
            "plain": recurrent_config(name, PLAIN),
            "layers": recurrent_config(name, CONDITIONED, layers=3),
            "mixture": recurrent_config(name, MIXTURE),
        }
        for name in ("rnn", "gru", "lstm")
    },
    "transformer": {
        "full": attention_config(TransformerConfig, PLAIN, context=200, sliding=False),
        "sliding": attention_config(TransformerConfig, CONDITIONED, context=7),
        "context 1": attention_config(TransformerConfig, PLAIN, context=1),
        "mixture": attention_config(TransformerConfig, MIXTURE, context=16, layers=3),
    },
    "linear-attention": {
        "plain": attention_config(LinearAttentionConfig, PLAIN),
        "heads": attention_config(LinearAttentionConfig, CONDITIONED, heads=3, layers=3),
        "mixture": attention_config(LinearAttentionConfig, MIXTURE),
    },
    "made": {
        "plain": made_config(PLAIN, layers=2),
        "window 2": made_config(CONDITIONED, window=2),
        "window 8": made_config(CONDITIONED),
        "mixture": made_config(MIXTURE),
    },
    "state-space": {
        "plain": state_space_config(PLAIN),
        "one layer": state_space_config(CONDITIONED, layers=1),
        "mixture": state_space_config(MIXTURE),
    },
    "ngram": {
        "laplace": NGramConfig(context_bits=(5, 2), smoothing="laplace"),
        "backoff": NGramConfig(context_bits=(4, 2, 1), smoothing="backoff"),
        "labels": NGramConfig(
            context_bits=(3, 3), conditions=tiny_config(conditions="label").conditions
        ),
    },
    "linear-prediction": {
        "constant": LinearPredictionConfig(order=3, scale_window=0),
        "adaptive": LinearPredictionConfig(order=2, scale_window=4, residual="gaussian"),
        "gradient": LinearPredictionConfig(order=2, scale_window=3, estimation="gradient"),
    },
    **{
        name: {
            "plain": image_config(name, PLAIN),
            "kernel 5": image_config(name, CONDITIONED, width=13, height=24, kernel_size=5),
            "one layer": image_config(name, CONDITIONED, layers=1),
            "mixture": image_config(name, MIXTURE, layers=3),
        }
        for name in ("pixelcnn", "gated-pixelcnn", "row-lstm")
    },
}
CASES = [(name, case) for name, configs in CONFIGS.items() for case in configs]
every_case = pytest.mark.parametrize("case", CASES, ids=" ".join)


def build(case):
    name, variant = case
    config = CONFIGS[name][variant]
    assert config.architecture == name
    model = tiny_model(config, 5 if config.output.kind == "categorical" else 16)
    if variant == "gradient":
        model.coefficients.copy_(torch.tensor([0.6, -0.3]))
    return model


def make_batch(model, samples=SAMPLES, seed=0):
    """Return input codes (ROWS, samples), the start code first, and the conditioning of clips."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(model.n_classes, (ROWS, samples), generator=generator)
    inputs[:, 0] = model.start_code
    conditioning = model.conditioning(
        [make_condition_values(model, row) for row in range(ROWS)],
        [samples + 10 * row for row in range(ROWS)],
        [make_frame_features(model, row, samples + 10 * row) for row in range(ROWS)],
    )
    return inputs, conditioning


def sample_biases(model, conditioning, samples=SAMPLES):
    """Return the biases of every sample: T of (B, layers, width) or None."""
    frames = conditioning.biases(
        torch.zeros(conditioning.batch, dtype=torch.int64), samples // conditioning.hop_length + 2
    )
    if frames is None:
        return [None] * samples
    biases = interpolate(frames.flatten(2), 0, samples, conditioning.hop_length)
    return list(biases.unflatten(2, frames.shape[2:]).unbind(1))


def run_chunks(model, inputs, conditioning, sizes, memory, first=0):
    """Run the parallel pass chunk by chunk with one memory: params (B, T, P).

    Args:
        inputs: (B, T), the codes from sample `first` of the clips on.
        sizes: of the chunks, T together.
    """
    params = []
    for chunk in inputs.split(sizes, dim=1):
        start = torch.full((inputs.shape[0],), first)
        hidden = model.hidden_states(chunk, conditioning, start, memory)
        params.append(model.output_params(hidden))
        first += chunk.shape[1]
    return torch.cat(params, dim=1)


def run_steps(model, inputs, biases, memory):
    """Step through codes (B, T): params (B, T, P)."""
    steps = zip(inputs.unbind(1), biases, strict=True)
    return torch.stack([model.step(memory, codes, bias) for codes, bias in steps], dim=1)


def run_whole(model, inputs, conditioning):
    return model.output_params(model.hidden_states(inputs, conditioning))


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def differs(found, expected):
    return bool((found - expected).abs().max() > 1e-3)


def test_every_registered_architecture_is_tested_here():
    assert set(CONFIGS) == set(ARCHITECTURES)
    for name, (config, model) in ARCHITECTURES.items():
        assert config.model_fields["architecture"].default == name
        assert issubclass(model, AutoregressiveModel)


@pytest.mark.parametrize("codec", [MuLawCodec(bits=6, rounding="down"), Pcm16Codec()])
def test_a_model_is_built_for_its_codec(codec):
    output = None if codec.law == "mu-law" else LogisticOutput()
    model = build_model(tiny_config(output=output), codec, 8000)
    assert type(model) is ARCHITECTURES["wavenet"].model
    assert (model.n_classes, model.start_code) == (codec.n_classes, codec.silence_code)
    assert model.sample_rate == 8000


@every_case
def test_the_facts_of_a_model_are_those_of_its_config(case):
    model = build(case)
    facts = model.describe()
    assert facts["architecture"] == model.config.architecture == case[0]
    assert model.receptive_field == model.config.receptive_field
    is_image = isinstance(model, ImageModel)  # it names the pixels that a prediction reads
    past = model.config.past_description if is_image else model.receptive_field
    assert facts["receptive_field"] == past
    assert (model.device.type, model.dtype) == ("cpu", torch.float32)
    assert facts["parameters"] > 0 and facts["macs_per_sample"] > 0
    if isinstance(model, StatisticsModel):
        assert model.hidden_matrices() == []
        return
    assert facts["parameters"] == sum(p.numel() for p in model.parameters())
    # a weight is in one product, a number of a memory in at most two: it is changed and read
    most = facts["parameters"] + 2 * model.config.memory_values
    # a step of a gated PixelCNN computes rows again
    assert (facts["macs_per_sample"] < most) == (case[0] != "gated-pixelcnn")
    matrices = {id(p) for p in model.hidden_matrices()}
    assert matrices
    assert id(model.output.weight) not in matrices
    assert matrices.isdisjoint(id(p) for p in model.embedding.parameters())


@every_case
def test_forward_is_the_parallel_pass_over_shifted_codes(case):
    model = build(case)
    inputs, conditioning = make_batch(model)
    codes = inputs.roll(-1, dims=1)  # the last code is not an input
    found = model(codes, conditioning).transpose(1, 2)
    assert torch.equal(found, run_whole(model, inputs, conditioning))
    assert found.shape == (ROWS, SAMPLES, model.distribution.n_params)


@every_case
@settings(max_examples=8)
@given(st.lists(st.integers(1, 25), min_size=1, max_size=8), st.integers(0, 3))
def test_chunks_with_carried_memory_equal_the_whole(case, sizes, seed):
    model, samples = build(case), sum(sizes)
    inputs, conditioning = make_batch(model, samples, seed)
    whole = run_whole(model, inputs, conditioning)
    memory = model.initial_memory(ROWS)
    assert_close(run_chunks(model, inputs, conditioning, sizes, memory), whole)


@every_case
def test_without_the_memory_of_a_chunk_the_next_chunk_differs(case):
    """Negative control: only a model of receptive field 1 needs no memory."""
    model = build(case)
    inputs, conditioning = make_batch(model)
    whole = run_whole(model, inputs, conditioning)[:, 30:]
    memories = [model.initial_memory(ROWS) for _ in range(2)]
    run_chunks(model, inputs[:, :29], conditioning, [29], memories[1])  # one sample is missing
    for memory in memories:
        second = run_chunks(model, inputs[:, 30:], conditioning, [30], memory, first=30)
        assert differs(second, whole) == (model.receptive_field != 1)


@every_case
def test_steps_equal_the_parallel_pass_sample_by_sample(case):
    model = build(case)
    inputs, conditioning = make_batch(model)
    whole = run_whole(model, inputs, conditioning)
    biases = sample_biases(model, conditioning)
    assert_close(run_steps(model, inputs, biases, model.initial_memory(ROWS)), whole)
    # negative control: a step with another code, and steps with the biases of the sample before
    changed = inputs.clone()
    changed[:, 20] = (inputs[:, 20] + model.n_classes // 2) % model.n_classes
    found = run_steps(model, changed, biases, model.initial_memory(ROWS))
    assert_close(found[:, :20], whole[:, :20])
    assert differs(found[:, 20], whole[:, 20])
    # the bias of a label is the same for all samples
    if biases[0] is not None and not torch.equal(biases[0], biases[-1]):
        shifted = [biases[0], *biases[:-1]]
        assert differs(run_steps(model, inputs, shifted, model.initial_memory(ROWS)), whole)


@every_case
@settings(max_examples=5)
@given(st.integers(1, SAMPLES - 1), st.booleans())
def test_chunks_and_steps_can_follow_each_other(case, split, steps_first):
    model = build(case)
    inputs, conditioning = make_batch(model)
    biases, memory = sample_biases(model, conditioning), model.initial_memory(ROWS)
    before, after = inputs[:, :split], inputs[:, split:]
    if steps_first:
        parts = [run_steps(model, before, biases[:split], memory)]
        sizes = [SAMPLES - split]
        parts.append(run_chunks(model, after, conditioning, sizes, memory, first=split))
    else:
        parts = [run_chunks(model, before, conditioning, [split], memory)]
        parts.append(run_steps(model, after, biases[split:], memory))
    assert_close(torch.cat(parts, dim=1), run_whole(model, inputs, conditioning))


@every_case
def test_selected_joined_and_cloned_rows_step_as_before(case):
    model = build(case)
    inputs, conditioning = make_batch(model)
    whole, biases = run_whole(model, inputs, conditioning), sample_biases(model, conditioning)
    memories = []
    for row, begin in ((0, 20), (2, 33)):  # two clips at different samples
        memory = model.initial_memory(ROWS)
        run_chunks(model, inputs[:, :begin], conditioning, [begin], memory)
        memories.append(memory.select([row]))
    joined = memories[0].join(memories[1])
    clone = joined.clone()
    for memory in (joined, clone):  # the steps of the first do not change the second
        for t in range(10):
            codes = torch.stack([inputs[0, 20 + t], inputs[2, 33 + t]])
            bias = None
            if biases[0] is not None:
                bias = torch.stack([biases[20 + t][0], biases[33 + t][2]])
            params = model.step(memory, codes, bias)
            assert_close(params, torch.stack([whole[0, 20 + t], whole[2, 33 + t]]))


@every_case
def test_steps_with_the_memory_on_the_device_equal_plain_steps(case):
    """As in a CUDA graph, the counters are tensors, copied from the source before a run."""
    model = build(case)
    inputs, conditioning = make_batch(model)
    biases = sample_biases(model, conditioning)
    whole = run_whole(model, inputs, conditioning)
    source = model.initial_memory(ROWS)
    device = source.with_device_cursor()
    run_chunks(model, inputs[:, :20], conditioning, [20], source)
    device.synchronize(source)
    assert_close(run_steps(model, inputs[:, 20:40], biases[20:40], device), whole[:, 20:40])
    source.move_cursor(20)
    rest = run_chunks(model, inputs[:, 40:], conditioning, [SAMPLES - 40], source, first=40)
    assert_close(rest, whole[:, 40:])


def test_a_memory_on_the_device_that_is_not_synchronised_is_noticed():
    """Negative control of the test above, for a memory with a cursor."""
    model = build(("wavenet", "kernel 3"))
    inputs, conditioning = make_batch(model)
    biases = sample_biases(model, conditioning)
    source = model.initial_memory(ROWS)
    device = source.with_device_cursor()
    run_chunks(model, inputs[:, :20], conditioning, [20], source)
    found = run_steps(model, inputs[:, 20:40], biases[20:40], device)
    assert differs(found, run_whole(model, inputs, conditioning)[:, 20:40])


def tensors_of(memory):
    """Return all tensors of a memory."""
    values = [v if isinstance(v, list) else [v] for v in vars(memory).values()]
    return [tensor for value in values for tensor in value if torch.is_tensor(tensor)]


@every_case
def test_a_step_keeps_the_tensors_of_its_memory(case):
    """A CUDA graph reads and writes the same tensors at every replay."""
    model = build(case)
    inputs, conditioning = make_batch(model)
    memory = model.initial_memory(ROWS)
    before = tensors_of(memory)
    run_steps(model, inputs, sample_biases(model, conditioning), memory)
    assert all(a is b for a, b in zip(tensors_of(memory), before, strict=True))
    assert sum(tensor[0].numel() for tensor in before) == model.config.memory_values


@every_case
def test_a_memory_has_no_gradient_and_keeps_that_of_its_chunk(case):
    """Truncated backpropagation carries a memory from one chunk to the next."""
    model = build(case).requires_grad_()
    if not list(model.parameters()):
        pytest.skip("tables of counts have no gradient")
    inputs, conditioning = make_batch(model)
    memory = model.initial_memory(ROWS)
    run_chunks(model, inputs[:, :20], conditioning, [20], memory)
    assert not any(tensor.requires_grad for tensor in tensors_of(memory))
    copy = memory.clone()  # a gradient from values that were not replaced before it is computed

    def gradient(stored, replaced):
        hidden = model.hidden_states(inputs[:, 20:], conditioning, torch.full((ROWS,), 20), stored)
        for tensor in tensors_of(stored) if replaced else ():
            tensor.zero_()
        loss = model.output_params(hidden).square().sum()
        return torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)

    found, expected = gradient(memory, True), gradient(copy, False)
    assert sum(g is not None for g in found) >= len(model.hidden_matrices())
    for a, b in zip(found, expected, strict=True):
        assert a is b is None or torch.equal(a, b)


@every_case
def test_a_prediction_depends_on_no_later_code_and_on_one_receptive_field(case):
    model = build(case)
    inputs, conditioning = make_batch(model)
    changed = inputs.clone()
    changed[:, 20] = (inputs[:, 20] + model.n_classes // 2) % model.n_classes
    change = run_whole(model, changed, conditioning) - run_whole(model, inputs, conditioning)
    steps = (change.abs().amax((0, 2)) > 0).nonzero().flatten().tolist()
    assert steps[0] == 20
    assert steps[-1] < 20 + (model.receptive_field or SAMPLES)
