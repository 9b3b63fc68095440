"""The engine protocol: predict, accept, run, select, join, clone and state_bytes."""

from dataclasses import replace
from importlib.util import find_spec
from typing import NamedTuple

import pytest
import torch

from tests.conftest import make_condition_values, make_frame_features, tiny_config, tiny_model
from tests.engines.conftest import memory_tensors
from tests.engines.test_engines import (
    poisoned,  # noqa: F401  (used by every test here)
    prompts_of,
)
from wavenet.engines.registry import NON_GPU_NAMES, make_engine
from wavenet.model.model_config import CategoricalOutput, LogisticOutput, Output
from wavenet.sampling import SamplingConfig, apply_guidance, rows_per_clip

interpreted = [
    pytest.mark.skipif(
        find_spec("triton") is None or torch.cuda.is_available(),
        reason="the engine gpu runs here with triton's interpreter, on a machine without a GPU",
    ),
    pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning"),
]
QUICK_ENGINES = (*NON_GPU_NAMES, "graph")
ENGINES = (*QUICK_ENGINES, pytest.param("gpu", marks=[*interpreted, pytest.mark.slow]))
# the engine gpu has the clone, select and join of all engines, and its interpreter is slow
without_gpu = pytest.mark.parametrize("name", QUICK_ENGINES)
CLIPS = 3
SAMPLES = 7  # few, because of that interpreter


class Case(NamedTuple):
    """An output distribution with its number of bits, and a way to draw."""

    output: Output
    bits: int
    sampling: SamplingConfig


CASES = {
    "categorical": Case(CategoricalOutput(), 5, SamplingConfig()),
    "mixture": Case(LogisticOutput(components=2), 16, SamplingConfig()),
    "guidance": Case(CategoricalOutput(), 5, SamplingConfig(guidance=2.5)),
}


class Batch:
    """An engine with clips that have conditions and prompts of different lengths.

    Args:
        name: of the engine.
        kind: one of `CASES`.
    """

    def __init__(self, name, kind):
        case = CASES[kind]
        dilations = (1,) if name == "gpu" else (1, 3, 2)
        config = tiny_config(3, dilations, "all", output=case.output)
        self.model = tiny_model(config, case.bits)
        self.engine = make_engine(name, self.model)
        self.sampling = case.sampling
        self.rows = rows_per_clip(case.sampling)
        # a history of codes is replaced, the other memories are changed in place
        self.is_reference = name == "reference"

    def start(self, clips=range(CLIPS)):
        """Return the state of some clips after their prompts."""
        values, totals, frames = [], [], []
        for clip in clips:
            whole = make_condition_values(self.model, 3 * clip)
            free = {n: v for n, v in whole.items() if n not in self.model.config.droppable}
            values += [whole, free][: self.rows]
            totals += [80 + 3 * clip] * self.rows
            frames += [make_frame_features(self.model, clip, 80 + 3 * clip)] * self.rows
        state = self.engine.start(self.model.conditioning(values, totals, frames))
        prompts = prompts_of(self.model, *(5 * clip for clip in range(CLIPS)))
        self.engine.prefill(state, [prompts[clip] for clip in clips for _ in range(self.rows)])
        return state

    def run(self, state, noise):
        """Draw one sample per uniform."""
        return self.engine.run(state, noise.shape[1], self.sampling, noise)

    def draw(self, params, uniforms):
        """Draw codes (clips,) from params (rows, P) and uniforms (clips,)."""
        guided = apply_guidance(params[:, :, None], self.sampling)
        return self.model.distribution.sample(guided, uniforms[:, None], self.sampling)[:, 0]

    def accept(self, state, codes):
        """Accept codes (clips,) in all rows of each clip."""
        self.engine.accept(state, codes.repeat_interleave(self.rows))

    def row_indices(self, clips):
        """Return the rows of some clips."""
        return [self.rows * clip + k for clip in clips for k in range(self.rows)]


@pytest.fixture(params=ENGINES)
def name(request):
    return request.param


@pytest.fixture(params=CASES)
def batch(request, name):
    return Batch(name, request.param)


def noise_for(seed=1, clips=CLIPS, samples=SAMPLES):
    return torch.rand(clips, samples, generator=torch.Generator().manual_seed(seed))


def some_codes(batch):
    codes = (CLIPS, SAMPLES)
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, batch.model.n_classes, codes, generator=generator)


def test_predict_can_be_repeated(batch):
    """A second call changes nothing and returns the same params."""
    state, once = batch.start(), batch.start()
    position, last = state.position.clone(), state.last.clone()
    params = batch.engine.predict(state).clone()
    for _ in range(2):
        assert torch.equal(batch.engine.predict(state), params)
    assert torch.equal(state.position, position) and torch.equal(state.last, last)
    codes = some_codes(batch)[:, 0]
    batch.accept(state, codes)
    batch.engine.predict(once)
    batch.accept(once, codes)
    after = batch.engine.predict(state)
    assert torch.equal(after, batch.engine.predict(once))
    assert not torch.allclose(after, params)  # negative control: accept leads to other params


def test_run_draws_the_same_codes_after_predict(batch):
    noise = noise_for()
    expected = batch.run(batch.start(), noise)
    state = batch.start()
    parts = []
    for part in noise.split((4, 1, SAMPLES - 5), dim=1):
        batch.engine.predict(state)
        parts.append(batch.run(state, part))
    assert torch.equal(torch.cat(parts, dim=1), expected)
    assert not torch.equal(batch.run(batch.start(), 1 - noise), expected)  # negative control
    if not batch.is_reference:  # negative control: a prediction that is dropped was read twice
        state = batch.start()
        batch.engine.predict(state)
        state.params = None
        assert not torch.equal(batch.run(state, noise), expected)


def test_a_run_of_no_samples_keeps_the_prediction(batch):
    noise, state = noise_for(), batch.start()
    expected = batch.run(batch.start(), noise)
    batch.engine.predict(state)
    assert batch.run(state, noise[:, :0]).shape == (CLIPS, 0)
    assert torch.equal(batch.run(state, noise), expected)


def test_accept_needs_no_predict(batch):
    predicted, blind, other = batch.start(), batch.start(), batch.start()
    for codes in some_codes(batch)[:, :4].T:
        batch.engine.predict(predicted)
        batch.accept(predicted, codes)
        batch.accept(blind, codes)
        batch.accept(other, (codes + 7) % batch.model.n_classes)
    assert torch.equal(predicted.position, blind.position)
    assert torch.equal(predicted.last, blind.last)
    params = batch.engine.predict(predicted)
    assert torch.equal(batch.engine.predict(blind), params)
    assert not torch.allclose(batch.engine.predict(other), params)  # negative control
    noise = noise_for()
    assert torch.equal(batch.run(predicted, noise), batch.run(blind, noise))


def test_predict_and_accept_in_a_loop_equal_run(batch):
    noise, whole = noise_for(), batch.start()
    expected = batch.run(whole, noise)

    def loop(change=0):
        state, codes = batch.start(), []
        for t in range(SAMPLES):
            codes.append(batch.draw(batch.engine.predict(state), noise[:, t]))
            if t == 3:
                codes[3] = (codes[3] + change) % batch.model.n_classes
            batch.accept(state, codes[-1])
        return torch.stack(codes, dim=1), state

    codes, state = loop()
    assert torch.equal(codes, expected)
    assert torch.equal(state.position, whole.position)
    assert torch.equal(state.last, whole.last)
    params = batch.engine.predict(whole)
    torch.testing.assert_close(batch.engine.predict(state), params, atol=1e-5, rtol=1e-5)
    # negative control: another code changes what follows
    other, state = loop(change=batch.model.n_classes // 2)
    assert torch.equal(other[:, :3], expected[:, :3])
    assert not torch.equal(other[:, 4:], expected[:, 4:])
    assert not torch.allclose(batch.engine.predict(state), params, atol=1e-5, rtol=1e-5)


@without_gpu
@pytest.mark.parametrize("predicted", [False, True])
def test_clones_and_selections_share_nothing_that_changes(batch, predicted):
    noise, state = noise_for(), batch.start()
    if predicted:
        batch.engine.predict(state)
    copies = [batch.engine.clone(state), batch.engine.select(state, range(len(state.last)))]
    shallow = replace(state)
    for copied in copies:
        assert not shared_tensors(state, copied, histories=not batch.is_reference)
        assert copied.memory is not state.memory
    expected = batch.run(state, noise)
    for copied in copies:
        again = batch.engine.clone(copied)
        assert torch.equal(batch.run(copied, noise), expected)
        assert not torch.equal(
            batch.run(copied, noise), expected
        )  # negative control: it has moved on
        assert torch.equal(batch.run(again, noise), expected)
    # negative control: a copy that shares its memory is changed by the run
    assert shallow.memory is state.memory
    assert not torch.equal(batch.run(shallow, noise), expected)


def shared_tensors(state, other, histories):
    """Return the tensors of a state, without its conditioning, that another state has, too.

    Args:
        histories: False to leave out the memory, if its tensors are never changed.
    """

    def tensors(one):
        parts = [one.position, one.last, one.params]
        if histories:
            parts += memory_tensors(one.memory)
        return {part.data_ptr() for part in parts if part is not None and part.numel()}

    return tensors(state) & tensors(other)


@without_gpu
@pytest.mark.parametrize("predicted", [(), (0,), (1,), (0, 1)])
def test_joined_states_continue_if_one_both_or_none_has_params(batch, predicted):
    noise = noise_for()
    expected = batch.run(batch.start(), noise)
    states = [batch.start([0]), batch.start([1, 2])]
    for n in predicted:
        batch.engine.predict(states[n])
    alone = torch.cat([batch.engine.predict(batch.engine.clone(state)) for state in states])
    joined = batch.engine.join(*states)
    assert (joined.params is not None) == bool(predicted)
    params = batch.engine.predict(batch.engine.clone(joined))
    torch.testing.assert_close(params, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(batch.run(joined, noise), expected)
    # negative control: joined in the other order, they are other clips
    states = [batch.start([1, 2]), batch.start([0])]
    for n in predicted:
        batch.engine.predict(states[n])
    other = batch.run(batch.engine.join(*states), noise[[1, 2, 0]])
    assert torch.equal(other, expected[[1, 2, 0]])
    assert not torch.equal(other, expected)


@without_gpu
def test_clips_that_join_later_continue_as_if_they_were_alone(batch):
    """The two states have different cursors, and prompts of different lengths."""
    noise = noise_for(samples=30)
    alone = batch.run(batch.start(), noise)
    early, late = batch.start([0, 1]), batch.start([2])
    batch.run(early, noise[:2, :13])
    batch.run(late, noise[2:, :4])
    joined = batch.engine.join(early, late)
    assert joined.position.tolist() == [
        p for p in (13, 13 + 5, 4 + 10) for _ in range(batch.rows)
    ]  # the prompts have 0, 5 and 10 samples
    kept = batch.engine.select(joined, batch.row_indices([2, 0]))
    rest = batch.run(kept, torch.stack([noise[2, 4:20], noise[0, 13:29]]))
    assert torch.equal(rest[0], alone[2, 4:20])
    assert torch.equal(rest[1], alone[0, 13:29])


@without_gpu
def test_selected_rows_keep_their_params(batch):
    noise, state = noise_for(), batch.start()
    expected = batch.run(batch.start(), noise)
    params = batch.engine.predict(state)
    rows = batch.row_indices([2, 0])
    kept = batch.engine.select(state, rows)
    assert torch.equal(batch.engine.predict(kept), params[rows])
    assert torch.equal(batch.run(kept, noise[[2, 0]]), expected[[2, 0]])


@pytest.mark.parametrize("kernel_size", [1, 2])
@pytest.mark.parametrize("widths", [(8, 12, 10), (13, 7, 21)])
def test_state_bytes_are_those_of_the_memory(name, kernel_size, widths):
    if name == "reference":
        pytest.skip("the memory of the reference grows with every code")
    model = tiny_model(tiny_config(kernel_size, (1, 3, 2), "none", widths=widths))
    engine = make_engine(name, model)
    for rows in (1, 3):
        state = engine.start(model.conditioning([{}] * rows, [80] * rows))
        found = sum(t.numel() * t.element_size() for t in memory_tensors(state.memory))
        # never 0, because the callers divide by it
        assert engine.state_bytes(rows) == (found or 4 * rows)
        assert (found == 0) == (kernel_size == 1)
        assert engine.state_bytes(rows) != engine.state_bytes(rows + 1)  # negative control
