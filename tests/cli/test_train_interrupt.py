"""Ctrl-C during training, in a real process: the run is saved and can be resumed."""

import signal
import subprocess
import sys
import time

import soundfile

from tests.conftest import RATE, sine
from wavenet import checkpoint

RECIPE = """
name = "tones"
[audio]
sample_rate = 8000
[model]
residual_channels = 4
gate_channels = 4
skip_channels = 4
dilations = [1, 2]
[train]
steps = 1000000
samples_per_step = 800
validate_every = 100000
save_every = 100000
"""


def test_ctrl_c_leaves_a_checkpoint_and_a_step_to_resume(tmp_path):
    (tmp_path / "data").mkdir()
    for n in range(3):
        soundfile.write(tmp_path / "data" / f"{n}.wav", sine(0.1), RATE)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    call = "from wavenet.cli.main import main; main()"
    command = [sys.executable, "-c", call, "train", "recipe.toml", "--data", "data"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "runs" / "tones" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    try:
        while not (metrics.exists() and metrics.stat().st_size):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    assert "continue with the same command and --resume" in err
    assert "Traceback" not in err
    assert len(list((tmp_path / "runs" / "tones").glob("step-*"))) == 1
    assert checkpoint.load(tmp_path / "runs" / "tones" / "checkpoint").config.name == "tones"
