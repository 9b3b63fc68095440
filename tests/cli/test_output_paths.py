"""Output files: checked before long work, and never taken from another process."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_utils import io, plots
from audio_utils.atomic_files import atomic_file
from audio_utils.errors import AudioError
from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine, tiny_config
from wavenet import checkpoint, disk_space
from wavenet.cli.output_paths import (
    check_new_folder,
    check_outputs,
    check_space,
    is_writable,
    write_to_free_name,
)
from wavenet.errors import CheckpointError, ConditionError, ConfigError, FolderError
from wavenet.sharing.install import staging_folder

CJK = "\u6f22"


@pytest.fixture
def no_sample(monkeypatch):
    """Fail if a clip is generated."""

    def fail(*_, **__):
        raise AssertionError("a sample was generated")

    monkeypatch.setattr("wavenet.generation.generate.generate_many", fail)
    monkeypatch.setattr("wavenet.generation.search.beam_search", fail)
    monkeypatch.setattr("wavenet.generation.search.generate_with_candidates", fail)


def refused_places(tmp_path):
    """Return output files that cannot be written, each with a part of the message."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "taken.wav").write_text("x")
    return {
        "x.aiff": ".wav, .flac, .ogg, .mp3",
        "x.m4a": ".wav, .flac, .ogg, .mp3",
        "x.wav.bak": ".wav, .flac, .ogg, .mp3",
        "file/x.wav": "cannot be written",
        "taken.wav": "exists already",
        f"{'x' * 300}.wav": "255 bytes",
        f"{CJK * 85}.wav": "255 bytes",
        f"{'x' * 300}/x.wav": "255 bytes",
        f"{'y' * 300}": "255 bytes",
        f"{'d/' * 3000}x.wav": "cannot be written",
    }


def test_generate_and_vocode_refuse_a_place_before_the_first_sample(
    run_command, tiny, make_checkpoint, tone, tmp_path, no_sample
):
    curve = make_checkpoint(tiny_config(conditions="frames"), name="curve").folder
    np.save(tmp_path / "c.npy", np.zeros((5, 3), np.float32))
    generate = ("generate", "--checkpoint", tiny, "--set", "digit=a")
    vocode = ("vocode", tmp_path / "c.npy", "--checkpoint", curve)
    for name, word in refused_places(tmp_path).items():
        assert_refused(run_command(*generate, "--out", tmp_path / name), word)
        assert_refused(run_command(*generate, "--beams", 2, "--out", tmp_path / name), word)
        assert_refused(run_command(*vocode, "--out", tmp_path / name), word)
    option = ("--mel-matching-iterations", 3)
    assert_refused(run_command(*vocode, "--out", tmp_path / "v.wav", *option), "mel condition")


def test_a_rate_that_the_format_cannot_store_is_refused_before_the_first_sample(
    run_command, make_checkpoint, tmp_path, no_sample, monkeypatch
):
    folder = make_checkpoint(tiny_config(conditions="none")).folder
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"sample_rate": 8000', '"sample_rate": 4000'))
    common = ("generate", "--checkpoint", folder, "--out")
    assert_refused(run_command(*common, tmp_path / "x.mp3"), "4000 Hz", code=1)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_disk_with_too_little_space_is_refused_before_the_first_sample(
    run_command, tiny, tmp_path, no_sample, monkeypatch
):
    usage = namedtuple("usage", "total used free")(10**6, 0, 16_000)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage)
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--seconds", 1.01)
    assert_refused(run_command(*common, "--out", tmp_path / "new" / "x.wav"), "free", code=1)
    check_space([tmp_path / "a.wav"], 8000)
    with pytest.raises(FolderError, match=r"need 0\.03 MB, .* has 0\.02 MB"):
        check_space([tmp_path / "a.wav", tmp_path / "b.wav"], 8000)


def test_batch_and_prepare_refuse_a_disk_with_too_little_space(
    run_command, tiny, tmp_path, no_sample, monkeypatch
):
    (tmp_path / "in").mkdir()
    for n in range(3):
        soundfile.write(tmp_path / f"in/{n}.flac", sine(1.0, rate=16_000).numpy(), 16_000)
    rows = "".join(f'{{"id": "{n}", "digit": "a", "seconds": 2}}\n' for n in range(3))
    (tmp_path / "rows.jsonl").write_text(rows)
    out = tmp_path / "out"
    batch = ("batch", tmp_path / "rows.jsonl", "--checkpoint", tiny, "--out-dir", out, "--quiet")
    prepare = ("data", "prepare", tmp_path / "in", "--out", out, "--sample-rate", 8000)

    def set_free(count):
        usage = namedtuple("usage", "total used free")(10**9, 0, count)
        monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage)

    set_free(3 * 2 * 8000 * 2 - 1)
    code, printed, err = run_command(*batch)
    assert (code, printed) == (1, "")
    assert err.splitlines()[-1].startswith("wavenet: the clips need 0.10 MB")
    assert run_command(*batch, "--format", "flac", "--dry-run")[0] == 0
    set_free(3 * 8000 * 2 - 1)
    assert_refused(run_command(*prepare), "the shards need 0.05 MB", "has 0.05 MB", code=1)
    assert not (out / "shards").exists()
    set_free(3 * 8000 * 2)
    assert run_command(*prepare)[0] == 0
    set_free(0)  # the shards are written already
    assert run_command(*prepare)[0] == 0


def test_all_commands_with_an_output_folder_refuse_it_before_the_work(
    run_command, tiny, tone, tmp_path
):
    below = tone / "below"
    recordings = tmp_path / "in"
    recordings.mkdir()
    soundfile.write(recordings / "a_1.wav", sine(0.2).numpy(), RATE)
    (tmp_path / "model.pth").write_bytes(b"x")
    commands = [
        ("analyse", tone, "--out"),
        ("evaluate", "likelihood", recordings, "--checkpoint", tiny, "--out"),
        ("evaluate", "digits", recordings, "--checkpoint", tiny, "--clips", "--out"),
        ("evaluate", "vocoder", recordings, "--checkpoint", tiny, "--out"),
        ("import", "r9y9", tmp_path / "model.pth", "--trusted", "--hparams", tone, "--out"),
    ]
    for command in commands:
        for out in (below, tmp_path / ("x" * 300), tmp_path / (CJK * 90)):
            code, printed, err = run_command(*command, out)
            assert (code, printed, err.count("\n")) == (2, "", 1), (command, err)
            assert "cannot be written" in err or "255 bytes" in err
    for out in (below, tmp_path / ("x" * 300), "d/" * 3000):
        for command in (
            ("data", "prepare", recordings, "--out"),
            ("train", "tiny", "--data", recordings, "--steps", 1, "--out"),
            ("hub", "pull", "a/b", "--out"),
        ):
            code, printed, err = run_command(*command, out)
            assert code in (1, 2), err
            assert "Traceback" not in err


@pytest.mark.parametrize("letters", [300, 5000])
def test_a_long_name_is_one_sentence_in_every_command(run_command, tiny, tmp_path, letters):
    name = "x" * letters
    commands = [
        ("generate", "--checkpoint", name),
        ("generate", "--checkpoint", tiny, "--prompt", name, "--set", "digit=a"),
        ("generate", "--checkpoint", tiny, "--frames", f"a={name}", "--set", "digit=a"),
        ("vocode", name),
        ("vocode", f"{name}.npy"),
        ("batch", name),
        ("score", name, "--checkpoint", tiny, "--set", "digit=a"),
        ("score", tmp_path, "--metadata", name, "--checkpoint", tiny),
        ("info", name),
        ("analyse", name),
        ("bench", "--checkpoint", name),
        ("train", name),
        ("train", "tiny", "--data", name),
        ("train", "tiny", "--from", name),
        ("data", "report", name),
        ("data", "prepare", name, "--out", tmp_path / "corpus"),
        ("evaluate", "likelihood", name),
        ("evaluate", "likelihood", tmp_path, "--recipe", name, "--checkpoint", tiny),
        ("evaluate", "vocoder", name),
        ("hub", "push", name, "a/b"),
        ("hub", "pull", name),
        ("import", "r9y9", name, "--hparams", name, "--out", tmp_path / "new"),
        ("import", "vincentherrmann", name, "--sample-rate", 8000, "--out", tmp_path / "new"),
    ]
    for command in commands:
        code, out, err = run_command(*command)
        assert code in (1, 2), command
        assert out == "", command
        # `score` also names the file that it skips, `train` says what it does
        sentences = [line for line in err.splitlines() if line.startswith("wavenet: ")]
        assert len(sentences) == 1, (command, err)


def test_a_file_name_of_any_length_gives_a_valid_output_name(
    run_command, make_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    curve = make_checkpoint(tiny_config(conditions="frames"), name="curve").folder
    for stem in ("x" * 250, CJK * 83, os.fsdecode(b"\xff"), "-x", "a\nb"):
        with Path(f"{stem}.npy").open("wb") as file:
            np.save(file, np.zeros((5, 3), np.float32))
        soundfile.write(os.fsencode(f"{stem}.wav"), sine(0.2).numpy(), RATE)
        code, _, err = run_command("vocode", "--checkpoint", curve, "--", f"{stem}.npy")
        assert code == 0, err
        assert run_command("analyse", "--out", "plots", "--", f"{stem}.wav")[0] == 0
    assert len(list(Path("plots").iterdir())) == 20
    assert len(list(Path().glob("*_curve*_seed0.wav"))) >= 3


def test_an_existing_file_is_kept_without_overwrite(run_command, tiny, tone, tmp_path):
    commands = [
        ("analyse", tone, "--out", tmp_path / "plots"),
        ("generate", "--checkpoint", tiny, "--set", "digit=a", "--out", tmp_path / "clip.wav"),
    ]
    for command in commands:
        assert run_command(*command)[0] == 0
        out = command[-1]
        files = {p: p.stat().st_mtime_ns for p in (out.iterdir() if out.is_dir() else [out])}
        assert_refused(run_command(*command), "exists already", "--overwrite")
        assert {p: p.stat().st_mtime_ns for p in files} == files
        assert run_command(*command, "--overwrite")[0] == 0
        assert {p: p.stat().st_mtime_ns for p in files} != files


def create_during_the_work(monkeypatch, command, *names):
    """Create files as another process would do between the checks and the first sample."""

    def another_process_is_faster(paths, samples):
        for name in names:
            name.parent.mkdir(exist_ok=True)
            name.write_text("theirs")

    monkeypatch.setattr(f"wavenet.cli.{command}_command.check_space", another_process_is_faster)


def test_a_file_that_appears_during_the_work_is_kept_and_the_clip_too(
    run_command, tiny, tmp_path, monkeypatch
):
    """Regression: the generated clip was lost."""
    out, other, alone = (tmp_path / name for name in ("same.wav", "same_2.wav", "alone.wav"))
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--out")
    assert run_command(*common, alone)[0] == 0
    create_during_the_work(monkeypatch, "generate", out)
    code, printed, err = run_command(*common, out)
    assert (code, printed) == (1, f"{other}\n")
    assert err.splitlines()[-1] == (
        f"wavenet: {out} was created by another process in the meantime, so the clip is in {other}"
    )
    assert out.read_text() == "theirs"
    assert other.read_bytes() == alone.read_bytes()
    assert run_command(*common, out, "--overwrite")[0] == 0
    assert out.read_bytes() == alone.read_bytes()
    assert sorted(tmp_path.iterdir()) == [alone, out, other, tiny]


def test_in_a_folder_a_clip_has_the_next_number_if_its_name_is_taken_meanwhile(
    run_command, tiny, make_checkpoint, tmp_path, monkeypatch
):
    out = tmp_path / "clips"
    names = [out / f"tiny_a_seed0{number}.wav" for number in ("", "_2", "_3", "_4")]
    common = ("generate", "--checkpoint", tiny, "--set", "digit=a", "--out", out)
    create_during_the_work(monkeypatch, "generate", names[0])
    assert run_command(*common)[:2] == (0, f"{names[1]}\n")
    create_during_the_work(monkeypatch, "generate", names[2])
    assert run_command(*common)[:2] == (0, f"{names[3]}\n")
    assert {name.read_text() for name in names[::2]} == {"theirs"}
    assert names[1].read_bytes() == names[3].read_bytes()
    curve = make_checkpoint(tiny_config(conditions="frames"), name="curve").folder
    np.save(tmp_path / "c.npy", np.zeros((5, 3), np.float32))
    create_during_the_work(monkeypatch, "vocode", out / "c_curve_seed0.wav")
    code, printed, err = run_command(
        "vocode", tmp_path / "c.npy", "--checkpoint", curve, "--out", out
    )
    assert (code, printed) == (0, f"{out / 'c_curve_seed0_2.wav'}\n"), err


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("take_2024.wav", "take_2024_2.wav"),
        ("x_seed7.wav", "x_seed7_3.wav"),
        ("x_seed7_2.wav", "x_seed7_3.wav"),
        ("x_beams8_2.wav", "x_beams8_3.wav"),
    ],
)
def test_a_number_in_a_name_of_the_user_is_kept(tmp_path, name, free):
    for taken in (name, "x_seed7_2.wav"):
        (tmp_path / taken).touch()
    written = write_to_free_name(
        tmp_path / name, lambda path: io.write(path, sine(0.1), RATE, replace=False)
    )
    assert written == tmp_path / free


def test_other_errors_of_a_file_are_not_repeated_under_another_name(tmp_path):
    calls = []

    def fail(path):
        calls.append(path)
        raise AudioError("the disk is full") from OSError(errno.ENOSPC, "full")

    with pytest.raises(AudioError, match="disk is full"):
        write_to_free_name(tmp_path / "a.wav", fail)
    assert calls == [tmp_path / "a.wav"]


def test_the_longest_name_gets_a_number_too(tmp_path):
    path = tmp_path / f"{'x' * 251}.wav"
    path.touch()
    written = write_to_free_name(path, lambda name: io.write(name, sine(0.1), RATE, replace=False))
    assert written.is_file()
    assert (written.name[:200], written.name[-6:]) == ("x" * 200, "_2.wav")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "second", "code"),
    [("same.wav", "same_2.wav", 1), ("clips", "clips/tiny_a_seed0_2.wav", 0)],
)
def test_two_processes_with_the_same_output_lose_no_clip(
    run_command, tiny, tmp_path, name, second, code
):
    """Into a folder both succeed; of a named file, the later one reports its other name."""
    out, second = tmp_path / name, tmp_path / second
    if code == 0:
        out.mkdir()
    # without the guard, which draws most of a clip of random weights several times
    command = ["generate", "--checkpoint", tiny, "--set", "digit=a", "--engine", "cached"]
    command += ["--no-guard", "--seconds", "0.1"]
    slow = [*command, "--temperature", "1.1"]  # the name depends on the seed only
    process = subprocess.Popen(
        [sys.executable, "-m", "wavenet", *map(str, slow), "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr.readline().startswith("tiny, digit=a")  # its paths are checked
        process.send_signal(signal.SIGSTOP)
        fast = run_command(*command, "--out", out)
        process.send_signal(signal.SIGCONT)
        printed, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (fast[0], process.returncode, printed) == (0, code, f"{second}\n"), err
    for written, options in ((Path(fast[1].strip()), command), (second, slow)):
        alone = tmp_path / "alone.wav"
        assert run_command(*options, "--out", alone, "--overwrite")[0] == 0
        assert written.read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("has_links", [True, False])
def test_of_many_threads_one_creates_the_file(tmp_path, monkeypatch, has_links):
    if not has_links:

        def fail(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", fail)
    barrier = threading.Barrier(8)
    written, refused = [], []

    def write(n):
        try:
            with atomic_file(tmp_path / "a", replace=False) as temporary:
                temporary.write_text(str(n))
                barrier.wait()
            written.append(n)
        except FileExistsError:
            refused.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(written), len(refused)) == (1, 7)
    assert (tmp_path / "a").read_text() == str(written[0])
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").stat().st_nlink == 1


def test_the_writers_of_audio_and_plots_keep_a_file_on_request(tmp_path):
    io.write(tmp_path / "a.wav", sine(), RATE, replace=False)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(AudioError, match="exists already"):
        io.write(tmp_path / "a.wav", -sine(), RATE, replace=False)
    assert (tmp_path / "a.wav").read_bytes() == before
    figure = plots.plot_waveform(sine(), RATE)
    plots.save_figure(figure, tmp_path / "a.png", replace=False)
    with pytest.raises(AudioError, match="exists already"):
        plots.save_figure(figure, tmp_path / "a.png", replace=False)


def test_check_format_refuses_what_write_refuses():
    for name, rate, subtype in (
        ("a.aiff", 8000, "PCM_16"),
        ("a", None, "PCM_16"),
        ("a.mp3", 4000, "PCM_16"),
        ("a.flac", 8000, "FLOAT"),
        ("a.wav", 3999, "PCM_16"),
    ):
        with pytest.raises(AudioError):
            io.check_format(name, rate, subtype)
    for name in ("a.wav", "a.FLAC", "a.ogg", "a.mp3"):
        io.check_format(name, 8000)


def test_a_folder_without_permission_and_special_files_are_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(ConfigError, match="pipe"):
        check_outputs([tmp_path / "pipe.wav"], overwrite=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").write_text("")
    check_new_folder(tmp_path / "new", overwrite=False)
    check_new_folder(tmp_path / "full", overwrite=True)
    for folder in (tmp_path / "full", tmp_path / "full/a"):
        with pytest.raises(ConfigError, match="exists already"):
            check_new_folder(folder, overwrite=False)
    assert is_writable(tmp_path / "a/b/c")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not is_writable(tmp_path / "a/b/c")
    with pytest.raises(ConfigError, match="cannot be written"):
        check_outputs([tmp_path / "a/b/c.wav"], overwrite=False)


def test_of_two_installations_of_one_checkpoint_the_first_stays(make_checkpoint, tmp_path):
    made = make_checkpoint().folder

    def install(target, overwrite):
        with staging_folder(target, "origin", overwrite) as folder:
            shutil.copytree(made, folder, dirs_exist_ok=True)
            if not target.exists():  # another process is faster
                shutil.copytree(made, target)
                (target / "README.md").write_text("theirs")

    target = tmp_path / "new"
    with pytest.raises(ConditionError, match="not empty"):
        install(target, overwrite=False)
    assert (target / "README.md").read_text() == "theirs"
    install(target, overwrite=True)
    assert sorted(p.name for p in target.iterdir()) == ["config.json", "model.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "tiny"]


def test_a_checkpoint_that_exists_is_kept_on_request(make_checkpoint):
    loaded = make_checkpoint()
    before = (loaded.folder / "model.safetensors").read_bytes()
    loaded.model.output.bias.fill_(3)
    with pytest.raises(CheckpointError, match="exists already"):
        checkpoint.save(loaded.folder, loaded.config, loaded.model, replace=False)
    assert (loaded.folder / "model.safetensors").read_bytes() == before
