"""The Generate tab without a browser: its callbacks, called as Gradio calls them."""

import base64
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure

from audio_utils import io
from wavenet.generation.guard import Retry
from wavenet.likelihood.score import score
from wavenet.ui import controls, jobs, live
from wavenet.ui.api import make_generate
from wavenet.ui.take import Take

from .conftest import RATE, SPEAKERS

SETTINGS: dict[str, Any] = {
    "run": 5,
    "name": "digits",
    "seconds": 0.15,
    "seed": 3,
    "variants": 1,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "guidance": 1.0,
    "engine": "auto",
    "prompt": None,
    "with_prompt": True,
    "source": None,
}


def press(
    root: Path, *labels: str, stops: live.Stops | None = None, **changes: Any
) -> Iterator[tuple[Any, ...]]:
    """Press Generate, with other values in some controls."""
    numbers = [None] * controls.MAX_NUMBERS
    hidden = [None] * controls.MAX_LABEL_SETS
    return live.run_live(
        root,
        stops or live.Stops(),
        *(SETTINGS | changes).values(),
        *numbers,
        *(labels or ("7", "jackson")),
        *hidden,
    )


def heard(outputs: list[tuple[Any, ...]]) -> np.ndarray:
    """What the player would play, as int16."""
    messages = [output[0] for output in outputs if "pcm" in output[0]]
    assert [message["seq"] for message in messages] == list(range(len(messages)))
    return np.frombuffer(b"".join(base64.b64decode(m["pcm"]) for m in messages), "<i2")


def run(root: Path, *labels: str, **changes: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Press and wait: what was heard, what was saved, the last outputs by name."""
    outputs, saved = [], np.empty(0)
    for output in press(root, *labels, **changes):
        outputs.append(output)
        named = dict(zip(live.OUTPUTS, output, strict=True))
        if "waveform" in named and isinstance(named["waveform"], Figure):
            saved, rate = soundfile.read(named["audio1"]["value"], dtype="int16")
            assert rate == outputs[0][0]["sr"]
    return heard(outputs), saved, named


def test_what_is_heard_is_what_is_saved(root: Path) -> None:
    sound, saved, last = run(root)
    assert len(saved) == round(0.15 * RATE)
    assert np.array_equal(sound, saved)
    file = Path(last["audio1"]["value"])
    assert file.name == "digits_7_jackson_seed3.wav"
    assert not file.exists(), "the temporary file stays"
    assert all(isinstance(last[name], Figure) for name in live.PICTURES)
    end = last["player"]
    assert end == {"run": 5, "seq": end["seq"], "end": True, "error": None}
    assert [last[f"audio{n}"]["visible"] for n in (2, 3, 4)] == [False] * 3


def test_a_stopped_run_makes_no_more_sound_and_no_file(root: Path) -> None:
    stops = live.Stops()
    stops.add(4)
    stops.add(None)
    outputs = press(root, stops=stops, seconds=jobs.MAX_SECONDS)
    made = [next(outputs)]
    assert "pcm" in made[0][0], "it ended although another run was stopped"
    stops.add(5)
    made += outputs
    assert len(heard(made)) < jobs.MAX_SECONDS * RATE, "the clip was made to its end"
    assert all("pcm" in output[0] for output in made)
    assert list(press(root, stops=stops)) == [], "a run stopped before it began was made"


def test_stops_that_nobody_asks_for_are_forgotten() -> None:
    stops = live.Stops()
    for run in range(stops.KEPT + 5):
        stops.add(run)
    assert 4 not in stops
    assert 5 in stops
    assert stops.KEPT + 4 in stops


def test_a_seed_repeats_and_minus_one_draws_one_and_shows_it(root: Path) -> None:
    first, again, other = run(root)[1], run(root)[1], run(root, seed=4)[1]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    drawn = [run(root, seed=-1, seconds=0.01)[2]["used_seed"] for _ in range(2)]
    assert min(drawn) >= 0
    assert drawn[0] != drawn[1]


def test_labels_and_sampling_reach_the_model(root: Path) -> None:
    plain = run(root)[1]
    assert not np.array_equal(plain, run(root, "8", "jackson")[1])
    assert not np.array_equal(plain, run(root, temperature=0.5)[1])
    assert not np.array_equal(plain, run(root, top_k=3)[1])
    assert not np.array_equal(plain, run(root, top_p=0.3)[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": 0}, "seconds"),
        ({"seconds": jobs.MAX_SECONDS + 1}, "seconds"),
        ({"seconds": None}, "seconds"),
        ({"seconds": math.nan}, "seconds"),
        ({"seed": -2}, "seed"),
        ({"seed": None}, "seed"),
        ({"seed": jobs.MAX_SEED + 1}, "seed"),
        ({"temperature": 0}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"guidance": -1}, "guidance"),
        ({"guidance": 2.0}, "not trained to leave any out"),
        ({"variants": 5}, "variants"),
        ({"engine": "warp"}, "engine 'warp' is not known"),
        ({"name": "../digits"}, "no checkpoint '../digits'"),
        ({"name": None}, "no checkpoint"),
    ],
)
def test_a_bad_setting_is_one_sentence(root: Path, changes: dict[str, Any], words: str) -> None:
    outputs = press(root, **changes)
    shown = next(outputs)[0]["error"]
    assert words in shown
    with pytest.raises(gr.Error) as caught:
        next(outputs)
    assert caught.value.message == shown


def test_an_unknown_label_is_one_sentence(root: Path) -> None:
    assert "Digit cannot be 'x'" in next(press(root, "x", "jackson"))[0]["error"]


def make_prompt(folder: Path, kind: str) -> str:
    path = folder / f"{kind}.wav"
    if kind == "text":
        path.write_text("this is no sound")
    else:
        length = 3 if kind == "short" else 4000
        sine = 0.5 * torch.sin(torch.arange(length) * 0.2)
        io.write(path, sine * (kind != "silent"), RATE)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("text", "not audio"), ("silent", "silent"), ("short", "has 3 samples")],
)
def test_a_bad_prompt_is_one_sentence_without_our_paths(
    root: Path, tmp_path: Path, kind: str, words: str
) -> None:
    shown = next(press(root, prompt=make_prompt(tmp_path, kind)))[0]["error"]
    assert words in shown
    assert str(tmp_path) not in shown


def test_a_prompt_is_heard_before_its_continuation_unless_left_out(
    root: Path, tmp_path: Path
) -> None:
    prompt = make_prompt(tmp_path, "sine")
    given, _ = soundfile.read(prompt, dtype="int16")
    sound, saved, _ = run(root, prompt=prompt)
    assert np.array_equal(sound, saved)
    assert np.array_equal(saved[:4000], given)
    alone = run(root, prompt=prompt, with_prompt=False)[1]
    assert np.array_equal(saved[4000:], alone)
    assert not np.array_equal(alone, run(root)[1]), "the prompt changed nothing"


def test_a_label_from_a_checkpoint_is_no_html(root: Path) -> None:
    summary = run(root, "7", SPEAKERS[2], seconds=0.01)[2]["summary"]
    assert "&lt;img" in summary
    assert "<img" not in summary


def test_variants_are_the_clips_of_the_seeds_that_follow(root: Path) -> None:
    saved = []
    for output in press(root, variants=3):
        named = dict(zip(live.OUTPUTS, output, strict=True))
        if isinstance(named["waveform"], Figure):
            files = [named[f"audio{n}"] for n in (1, 2, 3, 4)]
            assert [file["visible"] for file in files] == [True] * 3 + [False]
            saved = [soundfile.read(file["value"], dtype="int16")[0] for file in files[:3]]
    for n in range(3):
        assert np.array_equal(saved[n], run(root, seed=3 + n)[1])
    assert not np.array_equal(saved[0], saved[1])


def test_the_surprise_is_that_of_the_clip_as_it_is_heard(root: Path, tmp_path: Path) -> None:
    checkpoint = jobs.load_named(root, "digits")
    wish = jobs.Wish(seconds=0.15, seed=3, labels={"digit": "7", "speaker": "jackson"})
    prompt = make_prompt(tmp_path, "sine")
    for with_prompt in (True, False):
        take = Take(jobs.make_job(checkpoint, wish, "auto", prompt, with_prompt))
        list(take.play())
        assert take.bits().shape == take.waveform().shape
        whole = torch.cat([jobs.read_upload(prompt, RATE, 10).waveform, take.waveform()[-1200:]])
        expected = score(checkpoint, whole, wish.labels).bits[-take.job.samples :]
        torch.testing.assert_close(take.bits(), expected)


def test_what_was_drawn_again_is_told(root: Path) -> None:
    checkpoint = jobs.load_named(root, "digits")
    wish = jobs.Wish(seconds=0.15, seed=3, variants=2, labels={"digit": "7", "speaker": "jackson"})
    take = Take(jobs.make_job(checkpoint, wish))
    take.retries = [
        Retry(1, 400, 800, "white noise", 2, True),
        Retry(0, 0, 80, "white noise", 3, False),
    ]
    told = live.summarise(take)
    assert "Clip 2 ran into white noise by 0.10 s and was drawn again from 0.05 s." in told
    assert "from 0.00 s, without success: another seed may help." in told


def test_the_public_function_gives_a_file(root: Path) -> None:
    make = make_generate(root)
    answer = make("digits", {"digit": "7", "speaker": "jackson"}, seconds=0.15, seed=3)
    saved, rate = soundfile.read(answer["path"], dtype="int16")
    assert rate == RATE
    assert np.array_equal(saved, run(root)[1])


@pytest.mark.parametrize(
    "changes",
    [{"labels": {}}, {"labels": 3}, {"seconds": "1"}, {"checkpoint": ["digits"]}, {"seed": 0.5}],
)
def test_the_public_function_refuses_in_a_sentence(root: Path, changes: dict[str, Any]) -> None:
    good = {"labels": {"digit": "7", "speaker": "jackson"}, "seconds": 0.01}
    make_generate(root)(**good)
    with pytest.raises(gr.Error):
        make_generate(root)(**(good | changes))
