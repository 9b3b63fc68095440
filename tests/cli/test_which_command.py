"""`wavenet which`: labels and checkpoints by likelihood, as text and JSON, refusals."""

import json

import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine, tiny_config
from wavenet.cli import which_command
from wavenet.detection.most_probable import label_probabilities


@pytest.fixture
def two(make_checkpoint):
    """Return two checkpoints with the label digit, and one of other codes."""
    config = tiny_config(conditions="label")
    first, second = make_checkpoint(config, name="one"), make_checkpoint(
        tiny_config(conditions="label", widths=(4, 6, 5)), name="other"
    )
    return first, second, make_checkpoint(config, bits=6, name="coarse")


def test_label_values_have_the_probabilities_of_the_library(run_command, two, tone):
    code, out, _ = run_command("which", tone, "-c", two[0].folder, "--label", "digit", "--json")
    assert code == 0
    found = json.loads(out)
    wanted = label_probabilities(two[0], sine(0.3), ["digit"])
    # the file has 16 bits, so a code may differ
    assert [r["values"] for r in found["candidates"]] == [one.values for one in wanted]
    assert found["candidates"][0]["bits"] == pytest.approx(wanted[0].bits, rel=0.02)
    assert sum(r["probability"] for r in found["candidates"]) == pytest.approx(1)
    assert (found["seconds"], found["file"]) == (0.3, str(tone))


def test_text_has_a_line_per_value(run_command, two, tone):
    code, out, _ = run_command("which", tone, "-c", two[0].folder, "--label", "DIGIT")
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert {row[2] for row in rows} == {"digit=a", "digit=b", "digit=c"}
    assert all(row[0].endswith(" %") and row[1].endswith(" bits") for row in rows)


def test_checkpoints_are_sorted_by_bits(run_command, two, tone):
    common = ("which", tone, "-c", two[0].folder, "-c", two[1].folder, "-s", "digit=a")
    code, out, _ = run_command(*common, "--json")
    assert code == 0
    rows = json.loads(out)["candidates"]
    assert {row["checkpoint"] for row in rows} == {str(c.folder) for c in two[:2]}
    assert rows[0]["bits_per_second"] < rows[1]["bits_per_second"]
    assert rows[0]["bits_per_second"] == pytest.approx(RATE * rows[0]["bits_per_sample"])
    _, out, err = run_command(*common)
    assert len(out.splitlines()) == 2
    assert "same codes: mu-law, 8 bits" in err


def test_without_checkpoints_all_known_ones_of_the_same_codes_are_found(tone, tmp_path):
    assert which_command.find_comparable(tone) == ["digits", "strings"]
    high = tmp_path / "high.wav"
    soundfile.write(high, sine(0.1, rate=44_100).numpy(), 44_100)
    assert "digits" in which_command.find_comparable(high)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-c", "{0}", "-c", "{2}", "-s", "digit=a"], "different codes"),
        (["-c", "{0}", "-c", "{1}", "--label", "digit"], "one checkpoint"),
        (["-c", "{0}", "--label", "voice"], "no label 'voice'"),
        (["-c", "{0}", "--label", "digit", "-s", "digit=a"], "omit one"),
        (["-c", "{0}"], "label 'digit' is missing"),
    ],
)
def test_what_cannot_be_compared_is_refused(run_command, two, tone, options, words):
    folders = [str(loaded.folder) for loaded in two]
    assert_refused(run_command("which", tone, *(o.format(*folders) for o in options)), words)


def test_a_missing_file_is_one_sentence(run_command, two, tmp_path):
    result = run_command("which", tmp_path / "no.wav", "-c", two[0].folder, "--label", "digit")
    assert_refused(result, "no.wav", code=1)
    assert_refused(run_command("which", tmp_path / "no.wav"), "no.wav", code=1)
