"""`wavenet train` with the recipe of a voice: its output, its options, and Ctrl-C."""

import pytest

from tests.cli.conftest import assert_refused
from tests.speech.speech_files import even_segments, fake_version
from tests.speech.voice_training import RECIPE, work_in_this_process, write_corpus, write_recipe
from wavenet.speech import train_voice as module
from wavenet.speech.align_corpus import align_corpus
from wavenet.speech.voice_folder import load_voice


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Return an aligned corpus, so that no aligner is needed."""
    work_in_this_process(monkeypatch)
    folder = write_corpus(tmp_path / "anna", {"a": "See saw.", "b": "So go."})
    out = folder / "alignment.jsonl"
    align_corpus(folder, out, aligner=even_segments, version=fake_version)
    return folder


@pytest.fixture
def train(run_command, corpus, tmp_path):
    """Return a function that trains a tiny voice with more options."""
    recipe = write_recipe(tmp_path)

    def call(*options, **named):
        data = ("--data", corpus) if named.get("data", True) else ()
        out = ("--out", tmp_path / "run")
        return run_command("train", recipe, *data, *out, "--threads", "1", *options)

    return call


def test_the_folder_of_the_voice_is_printed_and_progress_is_on_stderr(train, tmp_path, corpus):
    code, out, err = train("--steps", "2", "--quiet")
    assert (code, out) == (0, f"{tmp_path / 'run' / 'voice'}\n"), err
    assert f"using the alignment {corpus / 'alignment.jsonl'}\n" in err
    assert "training the acoustic model: 2 clips" in err
    assert "step 2: frames " in err
    assert "step 2: " in err.partition("training the vocoder")[2]
    assert load_voice(tmp_path / "run" / "voice").name == "tiny_voice"
    assert_refused(train("--steps", "2"), "already contains a run", code=1)
    code, out, err = train("--steps", "2", "--resume")
    assert (code, out, err) == (0, f"{tmp_path / 'run' / 'voice'}\n", "the voice is complete\n")
    assert_refused(
        train("--steps", "3", "--resume"),
        "recipe.acoustic_training.steps (2, now 3)",
        "recipe.vocoder.train.steps (2, now 3)",
        code=1,
    )


def test_ctrl_c_while_clips_are_read_names_the_command_that_continues(train, tmp_path, monkeypatch):
    def interrupt(*values):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "compute_examples", interrupt)
    code, out, err = train()
    assert (code, out) == (130, "")
    assert err.endswith("stopped; continue with the same command and --resume\n")


@pytest.mark.parametrize(
    "options",
    [
        ("--pattern", "{a}"),
        ("--metadata", "m.csv"),
        ("--label", "speaker"),
        ("--sample-rate", "16000"),
        ("--resume", "--accept-changes"),
    ],
)
def test_an_option_that_a_voice_does_not_have_is_refused(train, tmp_path, options):
    name = options[1] if options[0] == "--resume" else options[0]
    assert_refused(train(*options), f"{name} cannot be used for a voice")
    assert not (tmp_path / "run").exists()


def test_contradictions_are_refused_before_anything_is_read(train, tiny, run_command, tmp_path):
    both = train("--vocoder", tiny, "--from", tiny)
    assert_refused(both, "--from trains a vocoder and --vocoder does not")
    assert_refused(train("--vocoder", tiny), "condition mel only, found label")
    assert_refused(train("--from", tiny), "conditions on mel, but the checkpoint")
    assert_refused(train(data=False), "add --data", code=1)
    assert_refused(train("--steps", "0"), "steps")
    assert_refused(run_command("train", "tiny", "--vocoder", tiny), "--vocoder is for the recipe")
    assert not (tmp_path / "run").exists()


def test_the_recipe_of_a_voice_is_named_where_it_cannot_be_used(run_command, tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE)
    for name in ("voice", tmp_path / "r.toml"):
        result = run_command("autoencoder", "train", tmp_path, "--recipe", name)
        assert_refused(result, f"{name} is the recipe of a voice")
    result = run_command("train", "voices", "--data", tmp_path)
    assert_refused(result, "did you mean voice?")
