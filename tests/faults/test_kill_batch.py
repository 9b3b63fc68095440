"""The short form of `kill_batch`."""

from tests.batch.conftest import rows_of
from tests.conftest import tiny_config
from tests.faults.kill_batch import disturb


def test_a_batch_that_is_killed_comes_to_the_same_end(make_checkpoint, tmp_path):
    folder = str(make_checkpoint(tiny_config(conditions="label")).folder)
    options = ["--checkpoint", folder, "--engine", "cpu", "--workers", "2", "--batch-size", "4"]
    rows = [{**row, "seconds": 0.3} for row in rows_of(400, temperature=1.0)]
    found = disturb(tmp_path, rows, 2, (0.0, 0.2), options, seed=2)
    assert found["equal"]
    assert sum(found["kills"].values()) == 2
    assert found["items"] == 400
    for what in ("lost", "not in the journal", "duplicated", "corrupt", "failed"):
        assert found[what] == 0, found
    assert found["redone"] <= 2 * 2 * 4
