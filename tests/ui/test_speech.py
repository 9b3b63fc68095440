"""Text to speech in the Generate tab and the API: jobs, messages, kept clips, errors."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from tests.speech.tiny_voice import save_voice
from wavenet.config import make_config
from wavenet.errors import CheckpointError, ConditionError, ConfigError
from wavenet.speech.voice_folder import load_voice
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.clip_history.clip_actions import repeat_clip
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.page import Page
from wavenet.ui.speak import speech_job
from wavenet.ui.speak.speech_controls import SLIDERS, is_voice_part
from wavenet.ui.speak.speech_events import run_speech
from wavenet.ui.speak.speech_job import SpeechResult, SpeechSettings, make_speech_job
from wavenet.ui.speak.speech_message import speech_message
from wavenet.ui.studio_api import make_functions
from wavenet.ui.turns import Turns

from .conftest import bare_page, build_page, save_checkpoint

pytestmark = pytest.mark.usefixtures("uploads")
TEXT = "Hello there. It goes on."
VOICE = "tiny"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a voice and a checkpoint."""
    folder = tmp_path_factory.mktemp("speech") / "checkpoints"
    save_voice(folder / VOICE)
    (folder / "wavenet").rename(folder.parent / "wavenet")  # of its vocoder
    save_checkpoint(folder, "digits", 8000, {"digit": ("0", "1")})
    return folder


@pytest.fixture
def page(root: Path) -> Page:
    return bare_page(root)


def press_speak(page: Page, **changes: Any) -> Iterator[dict[str, Any]]:
    """Press Speak with usual settings, some of them changed."""
    values: dict[str, Any] = {"job_number": 5, "token": None, "name": VOICE, "text": TEXT}
    values |= {"speaker": None, "view": None, "seed": 3, "temperature": 1.0, "engine": "auto"}
    values |= {name: first for name, (first, _, _) in SLIDERS.items()}
    stop_requests = changes.pop("stop_requests", StopRequests())
    return run_speech(page, stop_requests, **(values | changes))


def shown_view(page: Page, **changes: Any) -> dict[str, Any]:
    """Return the message of the view as the browser sends it back."""
    view: dict[str, Any] = next(u["view"] for u in press_speak(page, **changes) if "view" in u)
    return json.loads(json.dumps(view))  # type: ignore[no-any-return]


def test_a_text_is_spoken_as_in_python(root: Path) -> None:
    job = make_speech_job(root, VOICE, SpeechSettings(text=TEXT, seed=3, speed=1.5, pitch=2))
    result = SpeechResult(job).complete()
    voice = load_voice(root / VOICE)
    style = job.settings.style
    assert (style.speed, style.pitch) == (1.5, 2)
    expected = [c for p in voice.plan(TEXT, style) for c in voice.speak_sentence(p, 3)]
    assert torch.equal(result.waveform, torch.cat(expected))
    assert result.waveform.numel() == job.samples == job.starts[-1]
    assert len(job.starts) == len(job.plans) + 1 == 3
    other = make_speech_job(root, VOICE, SpeechSettings(text=TEXT, seed=4, speed=1.5, pitch=2))
    assert not torch.equal(SpeechResult(other).complete().waveform, result.waveform)


def test_the_message_has_words_phones_and_times(root: Path) -> None:
    job = make_speech_job(root, VOICE, SpeechSettings(text="So $5! Hello."))
    message = speech_message(job, 7)
    assert message["job"] == 7
    first, second = message["sentences"]
    assert [word["text"] for word in first["words"]] == ["So", "$5"]
    assert [r["text"] for r in first["words"][1]["read"]] == ["five", "dollars"]
    assert [first["text"][slice(*word["at"])] for word in first["words"]] == ["So", "$5"]
    assert first["start"] == 0
    assert second["start"] == pytest.approx(job.starts[1] / job.sample_rate)
    ends = [word["end"] for word in first["words"]]
    assert ends == sorted(ends)
    assert ends[-1] <= second["start"] + 0.02
    tokens = first["tokens"]
    assert [t["symbol"] for t in tokens][1:3] == ["S", "OW"]
    assert [t["isVoiced"] for t in tokens][:3] == [False, False, True]
    assert all(t["original"] == [t["frames"], t["f0"]] for t in tokens)


def test_changed_curves_are_spoken_while_text_and_style_stay(page: Page) -> None:
    view = shown_view(page)
    tokens = view["sentences"][0]["tokens"]
    change = {"sentence": 0, "frames": [2 * t["frames"] for t in tokens]}
    change["f0"] = [t["f0"] for t in tokens]
    changed = {**view, "changes": [change]}
    again = shown_view(page, view=changed)
    assert again["changes"] == [change]
    assert [t["frames"] for t in again["sentences"][0]["tokens"]] == change["frames"]
    originals = [t["original"] for t in again["sentences"][0]["tokens"]]
    assert originals == [[t["frames"], t["f0"]] for t in tokens]
    assert again["sentences"][1]["start"] > view["sentences"][1]["start"]
    for other in ({"text": "Another text."}, {"speed": 1.2}, {"speaker": "b"}):
        dropped = shown_view(page, view=changed, **other)
        assert dropped["changes"] == []
        assert "were left out" in dropped["notices"][-1]


def test_a_correction_changes_the_phones(page: Page) -> None:
    view = shown_view(page, text="The gif.")
    corrected = shown_view(page, text="The gif.", view={"pronunciations": {"gif": "JH IH1 F"}})
    phones = [v["sentences"][0]["words"][1]["read"][0]["phones"] for v in (view, corrected)]
    assert phones == ["G IH1 F", "JH IH1 F"]
    assert corrected["pronunciations"] == {"gif": "JH IH1 F"}


def test_a_clip_is_kept_with_its_settings(page: Page) -> None:
    outputs = list(press_speak(page, pitch=-2.0, speaker="b"))
    clip = page.clips.clips(next(iter(page.clips._visitors)))[0]
    samples, rate = soundfile.read(clip.path)
    assert rate == 8000
    settings = SpeechSettings(text=TEXT, seed=3, pitch=-2.0, speaker="b", temperature=1.0)
    expected = SpeechResult(make_speech_job(page.root, VOICE, settings)).complete().waveform
    np.testing.assert_allclose(samples, expected.numpy(), atol=1 / 32768)
    assert clip.settings["text"] == TEXT
    assert (clip.settings["pitch"], clip.settings["speaker"]) == (-2.0, "b")
    shown = next(o for o in reversed(outputs) if "command" in o)
    words = shlex.split(shown["command"])
    assert words[:5] == ["wavenet", "speak", TEXT, "--voice", VOICE]
    assert words[words.index("--pitch") + 1] == "-2"
    assert json.loads(shown["settings"])["speaker"] == "b"
    panels = outputs[-1]["viewer"]["panels"]
    phones = next(p for p in panels if p["title"] == "Phones")
    assert panels[panels.index(phones) - 1]["title"] == "Spectrogram"
    assert phones["kind"] == "intervals"
    assert [n for n in phones["names"] if n][:4] == ["HH", "AH", "L", "OW"]
    assert outputs[-1]["viewer"]["job"] == 5


def test_a_clip_is_repeated_from_its_settings(root: Path) -> None:
    page = build_page(root)[1]
    list(press_speak(page, text="Once more.", melody=0.5))
    visitor = next(iter(page.clips._visitors))
    clip = page.clips.clips(visitor)[0]
    shown = repeat_clip(page, clip, is_next=True)
    assert 'data-action="again" data-press="speak"' in show_history(page.clips, visitor)["history"]
    assert shown["text"]["value"] == "Once more."
    assert shown["melody"] == 0.5
    assert shown["seed"] == 4
    assert shown["speech_box"]["visible"] is True


def test_a_stopped_job_keeps_what_was_generated(page: Page) -> None:
    stop_requests = StopRequests()
    outputs = []
    for output in press_speak(page, text=20 * TEXT, stop_requests=stop_requests):
        outputs.append(output)
        if "pcm" in (output.get("player") or {}):
            stop_requests.add(5)
    clip = page.clips.clips(next(iter(page.clips._visitors)))[0]
    assert clip.is_partial
    total = make_speech_job(page.root, VOICE, SpeechSettings(text=20 * TEXT)).samples
    assert 0 < clip.seconds * 8000 < total


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": ""}, "the text is empty"),
        ({"text": None}, "the text is empty"),
        ({"text": "🙂🙂"}, "no words that can be read"),
        ({"text": "你好"}, "no words that can be read"),
        ({"text": "a" * 4000}, "3000"),
        ({"name": "digits"}, "digits is not a voice"),
        ({"name": "absent"}, "expected a model here"),
        ({"speaker": "zoe"}, "has no speaker 'zoe'"),
        ({"speed": 9.0}, "speed"),
        ({"view": {"pronunciations": {"gif": "QQ"}}}, "'QQ' is not a phone"),
        ({"view": {"pronunciations": [1]}}, "pronunciations"),
        ({"view": 5, "text": "…"}, "no words that can be read"),
    ],
)
def test_a_bad_input_is_one_sentence(page: Page, changes: dict[str, Any], words: str) -> None:
    outputs = []
    with pytest.raises(gr.Error) as caught:
        for output in press_speak(page, **changes):
            outputs.append(output)
    assert words.lower() in str(caught.value.message).lower()
    assert outputs[-1]["player"]["error"] == caught.value.message
    assert not list(page.clips._visitors)


@pytest.mark.parametrize(
    "change",
    [
        {"sentence": 9, "frames": [1], "f0": [100.0]},
        {"sentence": 0, "frames": [1], "f0": [100.0]},
        {"sentence": 0, "frames": ["x"], "f0": [100.0]},
        {"sentence": -1, "frames": [], "f0": []},
        {},
        5,
    ],
)
def test_a_bad_change_is_refused(page: Page, change: Any) -> None:
    view = shown_view(page)
    with pytest.raises(gr.Error):
        list(press_speak(page, view={**view, "changes": [change]}))


def test_a_long_text_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_job, "MAX_SPEECH_SECONDS", 2.0)
    with pytest.raises(ConditionError, match="needs more than 2 s"):
        make_speech_job(root, VOICE, SpeechSettings(text=20 * TEXT))


def test_a_voice_is_a_model_of_the_page(root: Path) -> None:
    page = build_page(root)[1]
    shown: dict[str, Any] = {}
    for name, is_voice in ((VOICE, True), ("digits", False)):
        checkpoint = load_checkpoint(root, name)
        assert is_voice_part(checkpoint) is is_voice
        for applier in page.appliers:
            shown |= applier(checkpoint, {})
        assert shown["speech_box"]["visible"] is is_voice
        assert ("Speaks English text" in shown["about"]) is is_voice
        assert shown["generate_box"]["visible"] is not is_voice
        assert shown["resynthesise"]["visible"] is is_voice
        assert shown["player"]["button"] == ("Speak" if is_voice else "Generate")
    assert [value for _, value in page.dependents["speaker"].choices] == []


def test_the_api_speaks(root: Path) -> None:
    speak = make_functions(root, Turns())["speak"]
    saved = speak(TEXT, VOICE, speed="1.5", seed="3", pitch=2)
    samples, rate = soundfile.read(saved["path"])
    settings = SpeechSettings(text=TEXT, seed=3, speed=1.5, pitch=2)
    expected = SpeechResult(make_speech_job(root, VOICE, settings)).complete().waveform
    assert rate == 8000
    np.testing.assert_allclose(samples, expected.numpy(), atol=1 / 32768)
    assert Path(saved["path"]).name == "tiny_seed3.wav"


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": ""},
        {"text": 5},
        {"text": TEXT, "voice": "digits"},
        {"text": TEXT, "speed": "fast"},
        {"text": TEXT, "seed": 1.5},
        {"text": TEXT, "pronunciations": {"gif": "QQ"}},
        {"text": TEXT, "speaker": "zoe"},
    ],
)
def test_the_api_refuses_bad_arguments(root: Path, arguments: dict[str, Any]) -> None:
    speak = make_functions(root, Turns())["speak"]
    with pytest.raises(gr.Error):
        speak(**{"voice": VOICE, **arguments})


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError):
        make_config(SpeechSettings, "settings", text=TEXT, speed=float("nan"))


def test_a_damaged_voice_is_one_sentence(root: Path, tmp_path: Path) -> None:
    save_voice(tmp_path / "checkpoints" / VOICE)
    (tmp_path / "checkpoints" / VOICE / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError):
        make_speech_job(tmp_path / "checkpoints", VOICE, SpeechSettings(text=TEXT))
