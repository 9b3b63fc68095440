"""The guard: what runs away is drawn again, what does not is left alone to the last bit."""

import json
import math
from dataclasses import dataclass, replace

import pytest
import torch

from tests.conftest import RATE, given_for, local_for, sine, tiny_config
from wavenet import checkpoint, codec
from wavenet.cli.main import run
from wavenet.config import SamplingConfig
from wavenet.engines.base import State
from wavenet.engines.registry import NAMES, make_engine
from wavenet.errors import ConfigError
from wavenet.synthesis.generate import GUARD, MAX_SECONDS, Item, generate
from wavenet.synthesis.guard import NOISE, SATURATED, SILENCE, Guard, Stretch, Watch
from wavenet.synthesis.noise import uniforms
from wavenet.synthesis.stretches import FAR, copy_state

WINDOW = 64
SMALL = Guard(window=WINDOW / RATE, silence_seconds=2 * WINDOW / RATE)
# silence is found out while all of it can still be taken back
QUICK = replace(SMALL, silence_seconds=SMALL.window)
ALWAYS = 2.0


@dataclass
class StubState(State):
    bad: torch.Tensor


class Stub:
    """A sine that turns bad for good, sample by sample with some probability, once it may.

    `odds(position)` is the probability.
    """

    name = "stub"

    def __init__(self, model, kind, odds=lambda position: 1 / 300):
        self.model, self.kind, self.odds = model, kind, odds
        self.drawn = []  # (position, noise) of every call

    def start(self, conditioning):
        zeros = torch.zeros(conditioning.batch, dtype=torch.int64)
        return StubState(conditioning, zeros, zeros.clone(), torch.zeros(len(zeros)))

    def prefill(self, state, prompts):
        for row, prompt in enumerate(prompts):
            state.position[row] = len(prompt)

    def run(self, state, n, sampling, noise):
        self.drawn.append((state.position.tolist(), noise.clone()))
        codes = torch.zeros(noise.shape, dtype=torch.int64)
        for row in range(len(noise)):
            for t in range(n):
                codes[row, t] = self.one(state, row, float(noise[row, t]))
        return codes

    def one(self, state, row, u):
        position = int(state.position[row])
        state.position[row] += 1  # in place, as the rings are
        turns = state.bad[row] or u < self.odds(position)
        state.bad[row] = float(turns)
        if state.bad[row]:
            return {SATURATED: 255 * (u * 1e4 % 1 < 0.5), NOISE: int(u * 1e4 % 1 * 256),
                    SILENCE: 128}[self.kind]  # fmt: skip
        return int(codec.encode(torch.tensor(0.3 * math.sin(position * 0.3))))

    def select(self, state, rows):
        rows = list(rows)
        taken = state.conditioning.select(rows), state.position[rows], state.last[rows]
        return StubState(*taken, state.bad[rows])


@pytest.fixture
def flat(make_checkpoint):
    """A model that expects nothing: 8 bits for every sample."""
    loaded = make_checkpoint(tiny_config(conditions="none"))
    loaded.model.output.weight.zero_()
    loaded.model.output.bias.zero_()
    return loaded


@pytest.fixture
def fragile(make_checkpoint):
    """A real model: a hum that, after a code at an end of the alphabet, is nothing but these."""
    loaded = make_checkpoint(tiny_config(1, (1,), "none"))
    model = loaded.model
    for parameter in model.parameters():
        parameter.zero_()
    ends, codes = torch.tensor([0, 255]), torch.arange(256.0)
    model.embedding.weight[:, 0] = -1
    model.embedding.weight[ends, 0] = 1
    (block,) = model.blocks
    gates = model.config.gate_channels
    block.conv.linear.weight[0, 0], block.conv.linear.bias[gates] = 5, 10
    model.skip.weight[0, 0] = model.hidden.weight[0, 0] = 1
    model.output.bias[:] = -((codes - 128) ** 2) / 200
    model.output.bias[ends] = model.output.bias.logsumexp(0) - math.log(2 * 400)
    model.output.weight[ends, 0] = 30
    return loaded


def make(loaded, items, engine="cached", guard=SMALL, chunk_samples=None, **sampling):
    """Generate to the end: codes per item, rescues; chunks follow each other without a gap."""
    parts, rescues, at = [[] for _ in items], [], 0
    settings = SamplingConfig(**sampling)
    for chunk in generate(loaded, items, settings, engine, chunk_samples, guard):
        assert chunk.start == at
        lengths = [len(codes) for codes in chunk.codes]
        assert lengths == [len(w) for w in chunk.waveforms]
        at += max(lengths)
        for rescue in chunk.rescues:
            # never for something that is out already
            assert rescue.first >= chunk.start
        rescues += chunk.rescues
        for part, codes in zip(parts, chunk.codes, strict=True):
            part.append(codes)
    assert at == max(item.samples for item in items)
    return [torch.cat(part) for part in parts], rescues


def windows(codes):
    return codec.decode(codes).split(WINDOW)


def loud(codes):
    return [float(w.square().mean().sqrt()) > 0.6 for w in windows(codes)]


def watch_of(loaded, guard=SMALL, prompt=None):
    prompt = torch.empty(0, dtype=torch.int64) if prompt is None else prompt
    return Watch(loaded, loaded.model.conditioning([{}], [10**6]), [prompt], guard)


def line_of(waveform, guard=SMALL, first=0):
    """Cut a waveform of one clip into stretches."""
    codes, size = codec.encode(waveform), round(guard.window * RATE)
    return [
        Stretch(first + k, first + k + size, [c], [codec.decode(c)], [0])
        for k, c in zip(range(0, len(codes), size), codes.split(size), strict=True)
    ]


def fault(loaded, waveform, guard=SMALL):
    return watch_of(loaded, guard).fault(0, line_of(waveform, guard))


def test_each_way_to_run_away_is_named(flat, rng):
    noise = torch.from_numpy(rng.uniform(-1, 1, 256)).float()
    assert fault(flat, noise.sign()) == SATURATED
    assert fault(flat, -0.97 - 0.03 * noise.abs()) == SATURATED  # below zero only
    assert fault(flat, noise) == NOISE
    assert fault(flat, torch.zeros(256)) == SILENCE
    assert fault(flat, torch.full((256,), 0.7)) == SILENCE  # at an offset it is silence, too


@pytest.mark.parametrize("guard", [SMALL, GUARD])
def test_loud_but_sane_sound_is_let_through(flat, rng, guard):
    """A model to which everything is as surprising as noise: only the sound speaks for itself."""
    full = 2 * sine(2.0)
    assert float(full.abs().max()) == 1
    for sound in (full, sine(2.0), 2 * sine(2.0, 30.0), 2 * sine(2.0, 1000.0)):
        assert fault(flat, sound, guard) is None
    hiss = torch.from_numpy(rng.uniform(-0.05, 0.05, 16_000)).float()
    assert fault(flat, hiss, guard) is None
    assert fault(flat, 20 * hiss, guard) == NOISE  # the control


def test_loud_rough_sound_that_the_model_expects_is_let_through(flat):
    """The highest tone there is: as rough as can be, and no noise."""
    tone = 0.4 * (-1.0) ** torch.arange(256)
    assert fault(flat, tone) == NOISE
    ends = codec.encode(tone[:2])
    flat.model.output.bias[ends] = 10
    assert fault(flat, tone) is None
    assert float(watch_of(flat).surprise(0, line_of(tone)).mean()) == pytest.approx(1, abs=0.1)


def test_silence_shorter_than_the_limit_is_let_through(flat):
    quiet, limit = torch.zeros(4 * WINDOW), 2 * WINDOW
    assert fault(flat, quiet[: limit - 1]) is None
    assert fault(flat, quiet[:limit]) == SILENCE
    assert fault(flat, torch.cat([sine()[1:200], quiet[: limit - 1]])) is None
    assert fault(flat, torch.cat([quiet, sine()[5:10]])) is None
    breath = 0.001 * (-1.0) ** torch.arange(16_000)  # one can hear that somebody is there
    assert fault(flat, breath) is None


def test_what_is_shorter_than_a_window_is_not_judged(flat):
    assert fault(flat, torch.ones(WINDOW - 1)) is None
    assert fault(flat, (-1.0) ** torch.arange(WINDOW - 1)) is None


def test_the_surprise_is_that_of_the_score(make_checkpoint):
    """With context from the prompt, from the clip, and from a line whose beginning is gone."""
    from wavenet.likelihood.score import score

    loaded = make_checkpoint(tiny_config(conditions="none"))
    codes = codec.encode(sine(0.2))
    bits = score(loaded, codec.decode(codes)).bits
    prompt, rest = codes[:100], codec.decode(codes[100 : 100 + 8 * WINDOW])
    watch, line = watch_of(loaded, prompt=prompt), line_of(rest)
    for last in (1, 2, 8):
        for first in range(0, max(1, last - 2)):
            end = 100 + last * WINDOW
            found = watch.surprise(0, line[first:last])
            assert torch.allclose(found, bits[end - WINDOW : end], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_copied_state_shares_nothing_that_an_engine_changes(make_checkpoint, name):
    loaded = make_checkpoint(tiny_config(conditions="all"))
    engine, model = make_engine(name, loaded.model), loaded.model
    given = [given_for(model, row) for row in range(3)]
    local = [local_for(model, row, 300) for row in range(3)]
    state = engine.start(model.conditioning(given, [300] * 3, local))
    engine.prefill(state, [codec.encode(sine(0.01 * row)) for row in range(3)])
    noise = torch.rand(3, 90, generator=torch.Generator().manual_seed(0))
    selected, copied = engine.select(state, range(3)), copy_state(engine, state)
    expected = engine.run(state, 90, SamplingConfig(), noise)
    for kept in (copied, selected):
        again = copy_state(engine, kept)
        assert torch.equal(engine.run(kept, 90, SamplingConfig(), noise), expected)
        assert not torch.equal(engine.run(kept, 90, SamplingConfig(), noise), expected)  # control
        assert torch.equal(engine.run(again, 90, SamplingConfig(), noise), expected)


def test_a_state_of_unknown_parts_is_copied_by_its_engine(flat):
    engine = Stub(flat.model, SILENCE)
    state = engine.start(flat.model.conditioning([{}] * 2, [9] * 2))
    state.extra = {"unknown": 1}
    copied = copy_state(engine, state)
    assert not hasattr(copied, "extra")
    state.bad += 1
    assert copied.bad.tolist() == [0, 0]


def test_lists_in_a_state_are_copied_with_what_they_hold(flat):
    engine = Stub(flat.model, SILENCE)
    state = engine.start(flat.model.conditioning([{}], [9]))
    state.history = [torch.zeros(2)]
    copied = copy_state(engine, state)
    state.history[0] += 1
    state.history.append(torch.zeros(0))
    assert [part.tolist() for part in copied.history] == [[0, 0]]


@pytest.mark.parametrize("kind", [SATURATED, NOISE, SILENCE])
def test_what_runs_away_is_drawn_again_and_told(flat, kind):
    items = [Item(640, seed=seed) for seed in range(8)]
    made, rescues = make(flat, items, Stub(flat.model, kind), QUICK)
    free, none = make(flat, items, Stub(flat.model, kind), guard=None)
    assert none == []
    # half a window of saturation is noise to this model
    assert kind in {rescue.reason for rescue in rescues} <= {kind, NOISE}
    assert sum(rescue.solved for rescue in rescues) > 3
    rescued = {rescue.item for rescue in rescues}
    assert len(rescued) > 2
    watch = watch_of(flat, QUICK)
    lost = {rescue.item for rescue in rescues if not rescue.solved}
    for row, (codes, before) in enumerate(zip(made, free, strict=True)):
        assert (row in rescued) == (not torch.equal(codes, before))
        faults = [
            watch.fault(0, line_of(codec.decode(c[:end]), QUICK))
            for c in (codes, before)
            for end in range(WINDOW, 641, WINDOW)
        ]
        assert any(faults[10:]) == (row in rescued)  # the control: guard off lets it through
        if row not in lost:
            assert not any(faults[:10])


@pytest.mark.parametrize("kind", [SATURATED, NOISE, SILENCE])
def test_chunks_and_batches_change_nothing_when_clips_are_drawn_again(flat, kind):
    items = [
        Item(500, seed=0),
        Item(90, seed=1, prompt=sine(0.02)),
        Item(30, seed=9),
        Item(640, seed=1, item=4),
        Item(333, seed=5, prompt=sine(0.01)),
    ]
    together, rescues = make(flat, items, Stub(flat.model, kind))
    assert rescues
    for size in (1, 7, 64, 1000):
        assert_same(
            make(flat, items, Stub(flat.model, kind), chunk_samples=size), together, rescues
        )
    for row, item in enumerate(items):
        (alone,), told = make(flat, [item], Stub(flat.model, kind))
        assert torch.equal(alone, together[row])
        assert [replace(r, item=row) for r in told] == [r for r in rescues if r.item == row]


def assert_same(made, codes, rescues):
    assert all(torch.equal(a, b) for a, b in zip(made[0], codes, strict=True))
    assert made[1] == rescues


def test_a_real_model_that_runs_away_is_brought_back(fragile):
    items = [Item(500, seed=seed) for seed in range(4)]
    made, rescues = make(fragile, items)
    free, _ = make(fragile, items, guard=None)
    assert rescues
    assert all(rescue.solved and rescue.reason == SATURATED for rescue in rescues)
    assert not any(any(loud(codes)) for codes in made)
    gone = [row for row, codes in enumerate(free) if any(loud(codes))]
    assert gone
    assert set(gone) <= {rescue.item for rescue in rescues}
    for engine, size in (("cached", 1), ("cached", 64), *((name, 7) for name in NAMES)):
        assert_same(make(fragile, items, engine, chunk_samples=size), made, rescues)


def test_conditions_prompts_and_lengths_go_along(make_checkpoint):
    """A model of random weights is noise in most windows."""
    loaded = make_checkpoint(tiny_config(conditions="all"))
    model, items = loaded.model, []
    for row, samples in enumerate((500, 30, 333, 64, 65)):
        prompt = sine(0.0125) if row % 2 == 0 else None
        local = local_for(model, row, samples + (100 if row % 2 == 0 else 0))
        items.append(Item(samples, given_for(model, row), row, prompt=prompt, local=local))
    guard = replace(SMALL, noise_share=0.965)  # about the middle of what this model makes
    together, rescues = make(loaded, items, guard=guard)
    assert len({rescue.item for rescue in rescues}) > 1
    assert any(rescue.solved for rescue in rescues)
    assert_same(make(loaded, items, "cpu", guard, 7), together, rescues)
    for row, item in enumerate(items):
        assert torch.equal(make(loaded, [item], guard=guard)[0][0], together[row])


def test_a_clip_that_is_fine_is_the_same_with_and_without_a_guard(flat, fragile):
    """Also while its neighbours in the batch are drawn again."""
    fine = Stub(flat.model, SATURATED, lambda position: 0)
    items = [Item(300, seed=1), Item(500, seed=2)]
    made, rescues = make(flat, items, fine)
    assert rescues == []
    assert all(map(torch.equal, made, make(flat, items, fine, guard=None)[0]))
    items = [Item(400, seed=seed) for seed in range(8)]
    made, rescues = make(fragile, items)
    free, _ = make(fragile, items, guard=None)
    touched = {rescue.item for rescue in rescues}
    assert 2 < len(touched) < 8
    for row in range(8):
        assert torch.equal(made[row], free[row]) == (row not in touched)
        first = min([r.first for r in rescues if r.item == row], default=400)
        assert torch.equal(made[row][:first], free[row][:first])


def test_it_goes_back_over_the_window_before(flat):
    """What begins late in a window is seen in the next; both are drawn again."""
    begins = 2 * WINDOW + 40
    # bad with the first noise of this seed, fine with the second
    seed = next(
        s
        for s in range(100)
        if float(uniforms(s, 0, begins, 1)) < 0.7 < float(uniforms(s, 0, begins + FAR, 1))
    )
    odds = lambda position: 0.7 if position == begins else 0  # noqa: E731
    stub = Stub(flat.model, SILENCE, odds)
    (codes,), (rescue,) = make(flat, [Item(640, seed=seed)], stub, QUICK)
    assert (rescue.first, rescue.last) == (2 * WINDOW, 4 * WINDOW)
    assert (rescue.attempts, rescue.solved) == (1, True)
    assert torch.equal(codes, make(flat, [Item(640)], Stub(flat.model, SILENCE, lambda _: 0))[0][0])


def test_attempts_are_limited_and_a_clip_is_then_let_be_until_it_is_fine(flat):
    bad_from = {2 * WINDOW, 8 * WINDOW}
    stub = Stub(flat.model, SATURATED, lambda position: ALWAYS if position in bad_from else 0)
    (codes,), rescues = make(flat, [Item(640, seed=2, item=5)], stub)
    assert [(r.first, r.last, r.attempts, r.solved) for r in rescues] == [
        (WINDOW, 3 * WINDOW, 3, False)
    ]
    assert len(stub.drawn) == 10 + 3 * 2
    assert loud(codes) == [False] * 2 + [True] * 8
    # no noise was used twice, and each is that of its attempt
    expected = [0, 1, 2] + [1, 2] * 3 + list(range(3, 10))
    attempts = [0] * 3 + [1, 1, 2, 2, 3, 3] + [0] * 7
    for (_, noise), window, attempt in zip(stub.drawn, expected, attempts, strict=True):
        wanted = uniforms(2, 5, window * WINDOW + attempt * FAR, WINDOW)
        assert torch.equal(noise[0], wanted)


def test_long_silence_is_found_out_however_many_windows_it_takes(flat):
    guard = replace(SMALL, silence_seconds=5.5 * SMALL.window)
    stub = Stub(flat.model, SILENCE, lambda position: ALWAYS if position == WINDOW else 0)
    _, (rescue,) = make(flat, [Item(1280, seed=0)], stub, guard)
    assert (rescue.reason, rescue.last, rescue.solved) == (SILENCE, 7 * WINDOW, False)
    assert make(flat, [Item(6 * WINDOW, seed=0)], stub, guard)[1] == []


def test_no_surprise_is_computed_for_a_clip_that_is_lost(flat, monkeypatch):
    """Seconds of noise once took ten times as long as they lasted."""
    computed, real = [], Watch.surprise
    monkeypatch.setattr(Watch, "surprise", lambda *a: computed.append(1) or real(*a))
    stub = Stub(flat.model, NOISE, lambda position: ALWAYS if position >= 2 * WINDOW else 0)
    _, (rescue,) = make(flat, [Item(1280, seed=0)], stub)
    assert not rescue.solved
    assert len(computed) == 4  # the first time and for each attempt


def test_a_clip_that_recovered_is_watched_again_with_noise_of_its_own(flat):
    """Its second fault goes on counting: attempt 4 is the first of it."""

    class Recovers(Stub):
        def one(self, state, row, u):
            position = int(state.position[row])
            if position == 4 * WINDOW:
                state.bad[row] = 0
            return super().one(state, row, u)

    bad_from = {2 * WINDOW, 7 * WINDOW}
    stub = Recovers(flat.model, SATURATED, lambda position: ALWAYS if position in bad_from else 0)
    (codes,), rescues = make(flat, [Item(640, seed=0)], stub)
    assert [(r.first, r.attempts, r.solved) for r in rescues] == [
        (WINDOW, 3, False),
        (6 * WINDOW, 3, False),
    ]
    assert loud(codes) == [False] * 2 + [True] * 2 + [False] * 3 + [True] * 3
    noises = [tuple(noise[0].tolist()) for _, noise in stub.drawn]
    assert len(set(noises)) == len(noises) == 10 + 2 * 3 * 2


@pytest.mark.parametrize(("guard", "greedy"), [(replace(SMALL, attempts=0), False), (SMALL, True)])
def test_where_nothing_else_can_be_drawn_it_only_tells(flat, guard, greedy):
    stub = Stub(flat.model, SATURATED, lambda position: ALWAYS)
    made, (rescue,) = make(flat, [Item(300, seed=0)], stub, guard, greedy=greedy)
    assert (rescue.first, rescue.attempts, rescue.solved) == (0, 0, False)
    assert torch.equal(made[0], make(flat, [Item(300, seed=0)], stub, None)[0][0])


def test_one_window_is_withheld_and_no_more(flat):
    """The first sound comes after two windows; the last of a clip is not waited for."""
    stub = Stub(flat.model, SATURATED, lambda position: 0)
    chunks = generate(flat, [Item(5 * WINDOW)], engine=stub, guard=SMALL, chunk_samples=WINDOW)
    seen = []
    for _ in chunks:
        seen.append(len(stub.drawn))
    assert seen == [2, 3, 4, 5, 5]


def test_noise_of_attempts_is_beyond_every_clip():
    assert MAX_SECONDS * 192_000 < FAR
    most = 4 * int(MAX_SECONDS / GUARD.window) * FAR  # attempts of the longest clip
    last = uniforms(2**63 - 1, 2**63 - 1, most, 5)
    assert not torch.equal(last, uniforms(2**63 - 1, 2**63 - 1, 0, 5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 0.0}, "above 0 s"),
        ({"window": math.nan}, "above 0 s"),
        ({"window": 5.0}, "at most silence_seconds, 1.5; found 5"),
        ({"attempts": -1}, "0 or more, found -1"),
        ({"noise_rms": 0.9}, "must be loud"),
    ],
)
def test_limits_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        Guard(**settings)


def test_the_command_tells_of_it_and_can_be_told_not_to(make_checkpoint, tmp_path, capsys):
    folder = make_checkpoint(tiny_config(1, (1,), "none")).folder
    told = {}
    for options in ((), ("--no-guard",), ("--greedy",)):
        out = tmp_path / f"{len(told)}.wav"
        command = ["generate", "--checkpoint", str(folder), "--seconds", "0.25", "--json"]
        assert run([*command, "--out", str(out), *options]) == 0
        shown, err = capsys.readouterr()
        told[options] = json.loads(shown)["rescues"], err, out.read_bytes()
    (rescue,), err, _ = told[()]
    assert rescue == {
        "reason": NOISE, "first": 0, "last": 800, "attempts": 3, "solved": False,
    }  # fmt: skip
    assert "0.wav: white noise by 0.10 s; drawn again from 0.00 s 3 times, without success" in err
    assert told[("--no-guard",)][0] == []
    assert "noise" not in told[("--no-guard",)][1]
    assert told[()][2] != told[("--no-guard",)][2]


def test_sentences(make_checkpoint):
    from wavenet.cli.clips import describe
    from wavenet.synthesis.guard import Rescue

    rescue = Rescue(0, 800, 2400, SILENCE, 1, True)
    assert describe(rescue, RATE) == "dead silence by 0.30 s; drawn again from 0.10 s once"
    assert "2 times" in describe(replace(rescue, attempts=2), RATE)
    left = describe(replace(rescue, attempts=0, solved=False), RATE)
    assert left == "dead silence by 0.30 s; greedy draws nothing else, so it was left"


def test_vocode_takes_the_flag(make_checkpoint, tmp_path, capsys):
    import soundfile

    from wavenet.conditions import MelCondition

    mel = MelCondition(bands=20, window=256, channels=4, context=1)
    config = tiny_config(1, (1,), hop=80).model_copy(update={"conditions": (mel,)})
    folder, tone = make_checkpoint(config).folder, tmp_path / "tone.wav"
    soundfile.write(tone, sine(0.3).numpy(), RATE)
    told = {}
    for flag in ("--guard", "--no-guard"):
        out = tmp_path / f"out{flag}.wav"
        command = ["vocode", tone, "--checkpoint", folder, "--json", "--out", out, flag]
        assert run(list(map(str, command))) == 0
        told[flag] = json.loads(capsys.readouterr().out)["rescues"]
    assert told["--guard"]
    assert told["--no-guard"] == []


def test_the_shipped_checkpoint_is_left_alone(request):
    """No false alarm in clips as people make them, and the audio is what it was."""
    digits = checkpoint.load(request.config.rootpath / "checkpoints" / "digits")
    items = [Item(3440, {"digit": str(k), "speaker": "theo"}, seed=k) for k in range(10)]
    made, rescues = make(digits, items, "cpu", GUARD)
    assert rescues == []
    assert all(map(torch.equal, made, make(digits, items, "cpu", None)[0]))
