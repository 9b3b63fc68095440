"""The short form of `kill_batch`: all of it is killed; a worker alone is in `test_crew`."""

from tests.batch.conftest import rows_of
from tests.conftest import tiny_config
from tests.faults.kill_batch import disturb


def test_a_batch_that_is_killed_comes_to_the_same_end(make_checkpoint, tmp_path):
    folder = str(make_checkpoint(tiny_config(conditions="label")).folder)
    options = ["--checkpoint", folder, "--engine", "cpu", "--workers", "1", "--batch-size", "4"]
    options += ["--no-guard"]  # these models make nothing but noise
    rows = [{**row, "seconds": 0.3} for row in rows_of(400, temperature=1.0)]
    found = disturb(tmp_path, rows, 2, (0.0, 0.2), options, seed=2)
    assert found["equal"]
    assert found["kills"] == {"group": 2, "worker": 0}
    assert found["items"] == 400
    for what in ("lost", "not in the journal", "duplicated", "corrupt", "failed"):
        assert found[what] == 0, found
    assert found["redone"] <= 2 * 2 * 4  # those whose files were there, but no line yet
