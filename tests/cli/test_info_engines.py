"""`wavenet info --engines`: the engines that can run a checkpoint on this machine."""

import json

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU another engine is selected")
def test_info_prints_the_selected_engine_and_reasons_against_faster_ones(run_command, tiny):
    code, out, _ = run_command("info", tiny, "--engines", "--json")
    reasons = json.loads(out)
    assert code == 0
    assert list(reasons) == ["gpu", "graph", "cpu", "cached"]
    assert (reasons["cpu"], reasons["cached"]) == ("selected", "available")
    assert "CUDA device" in reasons["gpu"]
    assert run_command("info", tiny, "--engines")[1].splitlines()[2].split() == ["cpu", "selected"]
