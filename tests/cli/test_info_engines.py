"""`wavenet info --engines`: the engines that can run a checkpoint on this machine."""

import json

import pytest
import torch

from wavenet import checkpoint


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU another engine is selected")
def test_info_prints_the_selected_engine_and_reasons_against_faster_ones(run_command, tiny):
    code, out, _ = run_command("info", tiny, "--engines", "--json")
    reasons = json.loads(out)
    assert code == 0
    assert list(reasons) == ["gpu", "graph", "cpu", "cached", "cpu, int8"]
    assert reasons["cpu, int8"].startswith("available (")
    assert (reasons["cpu"], reasons["cached"]) == ("selected", "available")
    assert "CUDA device" in reasons["gpu"]
    assert run_command("info", tiny, "--engines")[1].splitlines()[2].split() == ["cpu", "selected"]


def test_info_prints_why_a_model_cannot_run_in_int8(run_command, make_checkpoint):
    loaded = make_checkpoint(name="large")
    loaded.model.hidden.weight[0, 0] = 2e6
    checkpoint.save(loaded.folder, loaded.config, loaded.model)
    found = json.loads(run_command("info", loaded.folder, "--engines", "--json")[1])
    assert "found 2e+06 in hidden.weight" in found["cpu, int8"]
