"""`wavenet info --engines`: which engines can run a checkpoint here."""

import json

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU another engine is taken")
def test_info_says_which_engine_is_taken_and_why_no_faster_one(wavenet, tiny):
    code, out, _ = wavenet("info", tiny, "--engines", "--json")
    reasons = json.loads(out)
    assert code == 0
    assert list(reasons) == ["gpu", "graph", "cpu", "cached"]
    assert (reasons["cpu"], reasons["cached"]) == ("taken", "yes")
    assert "not on a CUDA device" in reasons["gpu"]
    assert wavenet("info", tiny, "--engines")[1].splitlines()[2].split() == ["cpu", "taken"]
