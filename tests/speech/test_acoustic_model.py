"""The acoustic model: padding changes nothing, the whole sentence is read, tokens are repeated."""

import pytest
import torch

from wavenet.model.conditions import MelCondition
from wavenet.speech.acoustic_model import (
    AcousticConfig,
    AcousticModel,
    length_mask,
    repeat_tokens,
)
from wavenet.speech.text_to_phones import text_to_phones
from wavenet.speech.tokens import encode_tokens, sentence_tokens

CONFIG = AcousticConfig(
    name="tiny",
    sample_rate=8000,
    hop=80,
    mel=MelCondition(n_mels=6, win_length=160),
    speakers=("a", "b"),
    channels=16,
    encoder_blocks=1,
    decoder_blocks=2,
    attention_layers=1,
    kernel_size=3,
    f0_mean=(5.0, 4.8),
    f0_deviation=(0.2, 0.3),
)


@pytest.fixture
def model() -> AcousticModel:
    torch.manual_seed(0)
    return AcousticModel(CONFIG).eval().requires_grad_(False)


def tokens_of(text: str) -> torch.Tensor:
    (sentence,) = text_to_phones(text)
    return encode_tokens(sentence_tokens(sentence))


def speak(
    model: AcousticModel, tokens: torch.Tensor, longest: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log durations and frames of one sentence, padded to `longest` tokens."""
    count = len(tokens)
    padded = torch.zeros(1, longest or count, 4, dtype=torch.int64)
    padded[0, :count] = tokens
    counts = torch.tensor([count])
    hidden = model.encode(padded, torch.tensor([0]), counts)
    prosody = model.predict_prosody(hidden, counts)
    durations = 3 * length_mask(counts, padded.shape[1])[..., 0].long()
    frames = model.decode(hidden, prosody.f0, prosody.energy, durations)
    return prosody.log_duration[0, :count], frames[0]


def test_padding_does_not_change_a_sentence(model: AcousticModel) -> None:
    tokens = tokens_of("Hello there.")
    durations, frames = speak(model, tokens)
    padded_durations, padded_frames = speak(model, tokens, len(tokens) + 9)
    torch.testing.assert_close(padded_durations, durations)
    torch.testing.assert_close(padded_frames, frames, atol=1e-5, rtol=1e-4)
    assert frames.shape == (3 * len(tokens), 6)


def test_every_token_depends_on_the_whole_sentence(model: AcousticModel) -> None:
    statement, question = (speak(model, tokens_of(f"It is a long story{mark}"))[0] for mark in ".?")
    assert not torch.allclose(statement[1], question[1], atol=1e-6)
    # negative control: without attention, the mark is too far away
    local = AcousticModel(CONFIG.model_copy(update={"attention_layers": 0})).eval()
    with torch.no_grad():
        statement, question = (
            speak(local, tokens_of(f"It is a long story{mark}"))[0] for mark in ".?"
        )
    assert torch.equal(statement[1], question[1])
    assert not torch.equal(statement[-1], question[-1])


def test_speakers_stress_and_prosody_change_the_frames(model: AcousticModel) -> None:
    tokens = tokens_of("Hello.")[None]
    counts, durations = torch.tensor([6]), torch.full((1, 6), 2)
    zeros = torch.zeros(1, 6)

    def decode(tokens: torch.Tensor, speaker: int = 0, f0: float = 0.0) -> torch.Tensor:
        hidden = model.encode(tokens, torch.tensor([speaker]), counts)
        return model.decode(hidden, zeros + f0, zeros, durations)

    plain = decode(tokens)
    assert torch.equal(decode(tokens), plain)
    assert not torch.allclose(decode(tokens, speaker=1), plain)
    assert not torch.allclose(decode(tokens, f0=1.0), plain)
    stressed = tokens.clone()
    stressed[0, 2, 1] = 3
    assert not torch.allclose(decode(stressed), plain)


def test_tokens_are_repeated_for_their_frames() -> None:
    values = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [0.0]]])
    durations = torch.tensor([[2, 0, 3], [1, 2, 0]])
    repeated, places = repeat_tokens(values, durations)
    assert repeated[..., 0].tolist() == [[1, 1, 3, 3, 3], [4, 5, 5, 0, 0]]
    assert places[0, :, 0].tolist() == pytest.approx([0.25, 0.75, 1 / 6, 0.5, 5 / 6])
    torch.testing.assert_close(places[0, :, 0] + places[0, :, 1], torch.ones(5))
    assert torch.equal(places[1, 3:], torch.zeros(2, 3))
