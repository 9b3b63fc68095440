"""Examples of recordings: where tokens end, and what is measured in each."""

import math

import pytest
import torch

from tests.speech.test_acoustic_model import CONFIG
from wavenet.errors import DataError
from wavenet.speech.spoken_examples import Times, make_example, place_tokens
from wavenet.speech.text_to_phones import text_to_phones

RATE = CONFIG.sample_rate


def times_of(text: str, start: float, phone: float, gaps: dict[int, float]) -> list[Times]:
    """Return times: every phone has one length, before some words there is silence."""
    times, now = [], start
    for n, word in enumerate(w for s in text_to_phones(text) for w in s.read_words):
        now += gaps.get(n, 0.0)
        times.append([(now + k * phone, now + (k + 1) * phone) for k in range(len(word.phones))])
        now = times[-1][-1][1]
    return times


def test_silences_become_pauses_or_belong_to_a_phone() -> None:
    text = "Go, he saw me. So I go"
    sentences = list(text_to_phones(text))
    times = times_of(text, 0.1, 0.1, {2: 0.02, 3: 0.2, 4: 0.3})
    tokens, ends = place_tokens(sentences, times, 3.0)
    named = [(t.symbol, round(end, 3)) for t, end in zip(tokens, ends, strict=True)]
    assert named == [
        ("start", 0.1),
        ("G", 0.2), ("OW", 0.3), (",", 0.3),  # a mark without a silence
        ("HH", 0.4), ("IY", 0.52),  # a silence that is too short
        ("S", 0.62), ("AO", 0.72), ("gap", 0.92),  # a silence without a mark
        ("M", 1.02), ("IY", 1.12), (".", 1.42),
        ("S", 1.52), ("OW", 1.62), ("AY", 1.72), ("G", 1.82), ("OW", 1.92), (".", 3.0),
    ]  # fmt: skip


def test_times_of_another_text_are_refused() -> None:
    times = times_of("Go on", 0.1, 0.1, {})
    with pytest.raises(DataError, match="align the recording again"):
        place_tokens(list(text_to_phones("Go in there")), times, 1.0)


def test_an_example_has_the_frames_f0_and_loudness_of_its_tokens() -> None:
    text = "Go so"
    times = times_of(text, 0.4, 0.1, {})
    seconds = torch.arange(int(1.4 * RATE)) / RATE
    tone = torch.sin(2 * math.pi * 200 * seconds) * ((seconds > 0.4) & (seconds < 0.6)) / 2
    noise = 0.02 * torch.randn(len(tone), generator=torch.Generator().manual_seed(0))
    waveform = tone + noise * ((seconds >= 0.6) & (seconds < 0.8))
    example = make_example(CONFIG, "a", 1, waveform, list(text_to_phones(text)), times)
    # the silence at the start is cut to 0.1 s, at the end to 0.2 s
    assert example.durations.tolist() == [10, 10, 10, 10, 10, 20]
    assert example.frames.shape == (70, 6)
    assert example.is_voiced.tolist()[1:3] == [True, True]
    assert not example.is_voiced[-1]
    assert example.f0[1:3].tolist() == pytest.approx([math.log(200)] * 2, abs=0.02)
    assert example.f0[-1] == pytest.approx(math.log(200), abs=0.1)  # continued
    assert example.energy[3] > example.energy[1] > example.energy[5]  # noise, a tone, silence
    start = example.frames[10:20].mean()
    assert example.energy[1].item() == pytest.approx(start.item(), abs=1e-4)
