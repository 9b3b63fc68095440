"""`wavenet data align`: files, messages, JSON, pictures, exit codes; with a fake aligner."""

import inspect
import json
from dataclasses import replace
from functools import partial

import pytest
from matplotlib.image import imread

from tests.cli.conftest import assert_refused
from tests.speech import speech_files
from tests.speech.speech_files import write_speech
from wavenet.cli.alignment_pictures import choose_clips
from wavenet.errors import ConfigError
from wavenet.speech import align_corpus as corpus_module
from wavenet.speech.alignment_file import read_alignment


@pytest.fixture
def folder(tmp_path):
    return write_speech(tmp_path / "voice")


@pytest.fixture
def use_aligner(monkeypatch):
    """Return a function that replaces the aligner, and the workers by this process."""
    real = corpus_module.align_corpus

    def run(queue, folder, aligner, count):
        while (task := queue.next_task()) is not None:
            queue.finish_task(task, corpus_module._align_task(task, folder, aligner))

    def use(aligner):
        fake = partial(real, aligner=aligner, version=speech_files.fake_version)
        monkeypatch.setattr(corpus_module, "align_corpus", fake)

    monkeypatch.setattr(corpus_module, "_run_workers", run)
    use(speech_files.even_segments)
    return use


@pytest.mark.usefixtures("use_aligner")
def test_the_path_is_printed_and_the_clips_are_described(run_command, folder):
    code, out, err = run_command("data", "align", folder, "--quiet")
    assert (code, out) == (0, f"{folder / 'alignment.jsonl'}\n")
    assert "not in the dictionary, pronounced by their letters: zzyblorp (1)\n" in err
    assert "3 of 3 clips aligned: 3.3 s, " in err
    assert len(read_alignment(folder / "alignment.jsonl")) == 3
    _, _, err = run_command("data", "align", folder, "--quiet")
    assert "3 of 3 clips aligned, 3 of them by an earlier run: " in err


def test_failures_are_printed_and_the_exit_code_is_3(run_command, folder, use_aligner):
    use_aligner(speech_files.refuse_short_texts)
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("four\n")
    code, _, err = run_command("data", "align", folder, "--quiet")
    assert code == 3
    assert "left out: metadata.csv line 4: it has no '|'" in err
    assert "failed: three: the text does not match the recording" in err
    assert "WARNING: 1 of 3 clips failed; do the ids" in err
    assert "2 of 3 clips aligned" in err


def test_a_failed_clip_cannot_be_drawn(run_command, folder, use_aligner, tmp_path):
    use_aligner(speech_files.refuse_short_texts)
    plot = ("--plot", f"three={tmp_path / 'three.png'}", "--quiet")
    code, out, err = run_command("data", "align", folder, *plot)
    assert (code, out) == (2, "")
    assert "--plot 'three': this clip could not be aligned; choose another" in err
    assert len(read_alignment(folder / "alignment.jsonl")) == 2


@pytest.mark.usefixtures("use_aligner")
def test_json_is_one_document(run_command, folder, tmp_path):
    picture, out = tmp_path / "pictures" / "one.png", tmp_path / "other.jsonl"
    arguments = ("--out", out, "--plot", f"one={picture}", "--json", "--quiet")
    code, printed, _ = run_command("data", "align", folder, *arguments)
    assert code == 0
    document = json.loads(printed)
    assert (document["alignment"], document["clips"], document["reused"]) == (str(out), 3, 0)
    assert document["seconds"] == pytest.approx(3.3)
    assert document["letters"] == {"zzyblorp": 1}
    assert (document["failed"], document["left_out"], document["doubtful"]) == ([], [], [])
    assert document["plots"] == {"one": str(picture)}
    assert imread(picture).shape[:2] == (390, 1350)


@pytest.mark.usefixtures("use_aligner")
def test_pictures_of_chosen_clips(run_command, folder, tmp_path):
    pictures = tmp_path / "new" / "pictures"
    code, out, _ = run_command("data", "align", folder, "--plots", pictures, "--quiet")
    assert code == 0
    assert {path.name for path in pictures.iterdir()} == {"one.png", "two.png", "three.png"}
    assert set(out.splitlines()[1:]) == set(map(str, pictures.iterdir()))
    assert imread(pictures / "one.png").shape[:2] == (390, 1350)
    # the clips of an earlier run are drawn too, and files are only replaced on request
    again = ("data", "align", folder, "--plots", pictures, "--plot-count", 1, "--quiet")
    assert_refused(run_command(*again), "one.png exists already; choose another --plots or add")
    code, out, _ = run_command(*again, "--overwrite")
    assert (code, len(out.splitlines())) == (0, 2)


@pytest.mark.usefixtures("use_aligner")
def test_a_clip_with_its_own_picture_is_drawn_once(run_command, folder, tmp_path):
    options = ("--plot", f"one={tmp_path / 'own.png'}", "--plots", tmp_path / "p", "--json")
    code, printed, _ = run_command("data", "align", folder, *options, "--quiet")
    assert code == 0
    plots = json.loads(printed)["plots"]
    assert plots["one"] == str(tmp_path / "own.png")
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"two.png", "three.png"}


def test_half_of_the_chosen_clips_have_the_lowest_scores():
    scores = {"a": -1.0, "b": -9.0, "c": -2.0, "d": -8.0, "e": -3.0, "f": -7.0}
    clips = [speech_files.make_clip(name, score=score) for name, score in scores.items()]

    def choose(count):
        return "".join(clip.id for clip in choose_clips(clips, count))

    assert [choose(n) for n in (1, 2, 3, 4, 5)] == ["b", "ba", "bda", "bdac", "bdfac"]
    assert choose(100) == "bdfeca"
    assert choose_clips([], 3) == []


def test_a_failed_clip_is_not_chosen(run_command, folder, use_aligner, tmp_path):
    use_aligner(speech_files.refuse_short_texts)
    code, _, _ = run_command("data", "align", folder, "--plots", tmp_path / "p", "--quiet")
    assert code == 3
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"one.png", "two.png"}


def test_a_wrong_text_is_named(run_command, tmp_path, use_aligner):
    def worse_for_one_word(waveform, words):
        segments = speech_files.even_segments(waveform, words)
        lower = 30.0 if len(words) == 1 else 0.0
        return [replace(segment, score=segment.score - lower) for segment in segments]

    use_aligner(worse_for_one_word)
    texts = {f"c{n}": "See saw." for n in range(12)} | {"wrong": "Seesaws"}
    folder = write_speech(tmp_path / "voice", texts)
    code, _, err = run_command("data", "align", folder, "--quiet")
    assert code == 0
    assert "doubtful: wrong: 'Seesaws' at 0." in err
    assert err.count("doubtful") == 1


def test_ctrl_c_stops_and_the_same_command_resumes(run_command, folder, use_aligner):
    calls = []

    def stop_at_the_second(waveform, words):
        calls.append(words)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return speech_files.even_segments(waveform, words)

    use_aligner(stop_at_the_second)
    code, out, err = run_command("data", "align", folder, "--quiet")
    assert (code, out, err) == (130, "", "stopped; the same command resumes\n")
    code, _, err = run_command("data", "align", folder, "--quiet")
    assert (code, len(calls)) == (0, 4)
    assert "3 of 3 clips aligned, 1 of them by an earlier run" in err


@pytest.mark.usefixtures("use_aligner")
def test_pronunciations_of_the_user(run_command, folder, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("zzyblorp Z IH1 B\n", encoding="utf-8")
    code, _, err = run_command("data", "align", folder, "--pronunciations", words, "--quiet")
    assert code == 0
    assert "pronounced by their letters" not in err
    word = read_alignment(folder / "alignment.jsonl")[2].words[0]
    assert ([phone for phone, *_ in word.phones], word.source.value) == (["Z", "IH1", "B"], "user")


@pytest.mark.usefixtures("use_aligner")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--plot", "one"], "--plot expects NAME=VALUE, for example ID=FILE.png"),
        (["--plot", "one=voice"], "is a folder"),
        (["--plot", "none=x.png"], "--plot 'none': no clip has this id; the ids are in"),
        (["--plot", "one=metadata.csv"], "exists already"),
        (["--plots", "metadata.csv"], "the folder metadata.csv cannot be written; choose another"),
        (["--plots", "metadata.csv/x"], "cannot be written; choose another with --plots"),
        (["--plot-count", "3"], "--plot-count is for the pictures of --plots; add --plots FOLDER"),
        (["--out", "metadata.csv"], "is not an alignment"),
        (["--out", "."], "is a folder"),
        (["--pronunciations", "none.txt"], "none.txt cannot be read"),
    ],
)
def test_wrong_options_are_refused(run_command, folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder.parent)
    (folder.parent / "metadata.csv").write_text("mine\n", encoding="utf-8")
    code, out, err = run_command("data", "align", folder, "--quiet", *arguments)
    assert (code, out) == (2, "") or (code, out) == (1, "")
    assert words in err.splitlines()[-1]
    assert not (folder / "alignment.jsonl").exists()
    assert (folder.parent / "metadata.csv").read_text(encoding="utf-8") == "mine\n"


def test_a_missing_package_is_reported_before_the_folder_is_read(run_command, folder, monkeypatch):
    def missing():
        raise ConfigError("pocketsphinx is not installed")

    fake = partial(corpus_module.align_corpus, version=missing)
    monkeypatch.setattr(corpus_module, "align_corpus", fake)
    result = run_command("data", "align", folder / "none")
    assert_refused(result, "pocketsphinx is not installed")


def test_the_real_aligner_is_the_default():
    defaults = inspect.signature(corpus_module.align_corpus).parameters
    assert defaults["aligner"].default is corpus_module.align_phones
    assert defaults["version"].default is corpus_module.aligner_version
