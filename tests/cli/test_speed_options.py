"""The options --precision and --threads."""

import json

from tests.cli.conftest import assert_refused


def test_generate_applies_precision_and_threads(run_command, tiny, tmp_path):
    for number, options in enumerate((["--threads", 1], ["--threads", 2], ["--precision", "bf16"])):
        out = tmp_path / f"{number}.wav"
        code, printed, _ = run_command(
            "generate", "--checkpoint", tiny, "--set", "digit=a", "--out", out, *options
        )
        assert code == 0 and printed.strip() == str(out)
    one, two, half = (tmp_path / f"{number}.wav" for number in range(3))
    assert one.read_bytes() == two.read_bytes() != half.read_bytes()


def test_score_uses_the_rounded_weights(run_command, tiny, tone):
    def bits(*options):
        out = run_command(
            "score", tone, "--checkpoint", tiny, "--set", "digit=a", "--json", *options
        )[1]
        return json.loads(out.splitlines()[-1])["bits_per_sample"]

    assert bits("--engine", "cpu") == bits() == bits("--engine", "reference")
    assert 0 < abs(bits("--engine", "cpu", "--precision", "bf16") - bits()) < 0.1


def test_unsupported_values_are_refused(run_command, tiny, tone, tmp_path):
    common = ["--checkpoint", tiny, "--set", "digit=a"]
    out = ["--out", tmp_path / "no.wav"]
    assert_refused(run_command("generate", *common, *out, "--threads", 3), "runs on 1 or 2 threads")
    assert_refused(
        run_command("generate", *common, *out, "--precision", "int4"), "fp32, bf16, int8"
    )
    assert_refused(
        run_command("score", tone, *common, "--engine", "cached", "--precision", "bf16"),
        "on the engine cpu or gpu",
    )
    assert not (tmp_path / "no.wav").exists()
