"""A short run of `kill_batch` that kills all processes; `test_local_workers` kills single ones."""

import pytest

from tests.batch.conftest import make_rows
from tests.conftest import tiny_config
from tests.faults.kill_batch import compare_with_kills


@pytest.mark.slow
def test_a_batch_that_is_killed_gives_the_same_files(make_checkpoint, tmp_path):
    folder = str(make_checkpoint(tiny_config(conditions="label")).folder)
    options = ["--checkpoint", folder, "--engine", "cpu", "--workers", "1", "--batch-size", "4"]
    options += ["--no-guard"]  # a model with random weights generates noise
    rows = [{**row, "seconds": 0.3} for row in make_rows(400, temperature=1.0)]
    result = compare_with_kills(tmp_path, rows, 2, (0.0, 0.2), options, seed=2)
    assert result["equal"]
    assert result["kills"] == {"group": 2, "worker": 0}
    assert result["items"] == 400
    for key in ("lost", "not in the journal", "duplicated", "corrupt", "failed"):
        assert result[key] == 0, result
    assert result["redone"] <= 2 * 2 * 4  # whose files were complete, but not in the journal yet
