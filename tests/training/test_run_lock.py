"""Two trainings into one folder: the second is refused, and changes nothing."""

import os

import pytest

from wavenet.errors import FolderInUse, TrainingError
from wavenet.folder_lock import LOCK_NAME, lock_folder, lock_holder

from . import make_config, make_dataset, make_settings, train


def run(folder, resume=False, **settings):
    return train(make_config(), make_settings(**settings), make_dataset(), folder, resume)


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_trained_into_is_refused(tmp_path, resume):
    run(tmp_path, steps=4)
    with lock_folder(tmp_path):
        before = content(tmp_path)
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
            run(tmp_path, resume)
        assert content(tmp_path) == before
    assert run(tmp_path, True, steps=4).step == 4


def test_a_run_locks_its_folder_until_it_ends(tmp_path):
    holders = []
    train(
        make_config(), make_settings(steps=2), make_dataset(), tmp_path,
        on_record=lambda record: holders.append(lock_holder(tmp_path)),
    )  # fmt: skip
    assert holders == [os.getpid()] * 2
    assert lock_holder(tmp_path) is None
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_run_that_cannot_be_resumed_leaves_no_folder(tmp_path):
    with pytest.raises(TrainingError, match="no snapshot"):
        run(tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
