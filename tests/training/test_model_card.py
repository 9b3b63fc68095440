"""The card beside trained weights: true figures, and the edits of a person are kept."""

from wavenet.model.conditions import LabelCondition
from wavenet.training.model_card import GENERATED_MARK, write_card

from . import make_config, make_dataset, make_settings, train


def test_a_run_writes_a_card_with_its_figures(tmp_path):
    dataset = make_dataset()
    state = train(make_config(), make_settings(steps=4), dataset, tmp_path)
    card = tmp_path / "checkpoint" / "README.md"
    text = card.read_text()
    assert f"| held-out clips | 3 clips, {state.best_bits:.4f} bits per sample |" in text
    assert "| receptive field | 8 samples, 1 ms |" in text
    write_card(card.parent, make_config(), state.ema_model, dataset, 99, state.best_bits)
    assert "| steps | 99 |" in card.read_text()
    edited = card.read_text().replace(GENERATED_MARK, "my own words")
    card.write_text(edited)
    write_card(card.parent, make_config(), state.ema_model, dataset, 100, state.best_bits)
    assert card.read_text() == edited


def test_labels_with_other_characters_are_quoted_and_escaped(tmp_path):
    """The card is Markdown, and its command is copied into a shell."""
    values = ("it's\x1b[31m | ok", "two words")
    config = make_config(conditions=(LabelCondition(name="speaker", values=values),))
    train(config, make_settings(steps=4), make_dataset({"speaker": values[0]}), tmp_path)
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert "\x1b" not in card
    assert r"speaker (it's\x1b[31m \| ok, two words)" in card
    assert r"""--set 'speaker=it'"'"'s\x1b[31m | ok'""" in card
