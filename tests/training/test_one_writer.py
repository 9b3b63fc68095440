"""Two trainings into one folder: the second is told so, and touches nothing."""

import os

import pytest

from wavenet.errors import FolderInUse, TrainingError
from wavenet.folder_lock import LOCK_NAME, lock_folder, lock_holder
from wavenet.training.loop import train

from . import CPU, make_config, make_dataset, make_settings


def run(folder, resume=False, **settings):
    return train(
        make_config(), make_settings(**settings), make_dataset(), folder, resume, device=CPU
    )


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_trained_into_is_refused(tmp_path, resume):
    run(tmp_path, steps=4)
    with lock_folder(tmp_path):
        before = content(tmp_path)
        words = rf"is in use by another process \(process {os.getpid()}\)"
        with pytest.raises(FolderInUse, match=words):
            run(tmp_path, resume)
        assert content(tmp_path) == before
    assert run(tmp_path, True, steps=4).step == 4


def test_a_run_holds_its_folder_to_its_end_and_no_longer(tmp_path):
    seen = []
    train(
        make_config(), make_settings(steps=2), make_dataset(), tmp_path, device=CPU,
        report=lambda record: seen.append(lock_holder(tmp_path)),
    )  # fmt: skip
    assert seen == [os.getpid()] * 2
    assert lock_holder(tmp_path) is None
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_run_that_cannot_be_resumed_leaves_no_folder(tmp_path):
    with pytest.raises(TrainingError, match="has no step to resume from"):
        run(tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
