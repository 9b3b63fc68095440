"""The runner of pages notices every kind of wrong page, and rewrites outputs."""

import pytest

from tests.docs.fenced_blocks import read_blocks, replace_blocks, slow_reason
from tests.docs.page_runner import PageError, run_page
from tests.docs.shown_output import clean_output, find_difference


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a page in a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def call(text, rewrite=False):
        return run_page(text, tmp_path, rewrite)

    return call


def test_python_blocks_share_a_namespace_and_a_folder(run):
    run(
        "```python\nfrom pathlib import Path\nPath('a.txt').write_text('one\\n')\n```\n"
        "Text.\n\n```console\n$ cat a.txt\none\n```\n"
        "```python\nprint(Path('a.txt').read_text() * 2)\n```\n```output\none\none\n```\n"
    )


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("```python\n1 / 0\n```\n", "line 1: ZeroDivisionError"),
        ("# Page\n\n```python\nprint('a')\n```\n```output\nb\n```\n", "line 6"),
        ("```output\nb\n```\n", "no Python block"),
        ("```console\n$ echo a\nb\n```\n", r"echo a`:\n"),
        ("```console\n$ echo a\n```\n", r"\+a"),
        ("```console\n$ true\na\n```\n", "-a"),
        ("```console\n$ false\n```\n", "exit code 1"),
        ("```console\nwavenet models\n```\n", "begins with"),
        ("```console\n$ wavenet generate --wrong\n```\n", "exit code 2"),
        ("```console exit=3\n$ true\n```\n", "exit code 0"),
        ("```console exact\n$ echo 7\n8\n```\n", r"\+7"),
        ("- list\n\n    ```console\n    $ echo a\n    b\n    ```\n", "echo a"),
    ],
)
def test_a_wrong_page_fails(run, page, words):
    with pytest.raises(PageError, match=words):
        run(page)


def test_a_command_of_wavenet_runs_in_this_process(run):
    run("```console exit=2\n$ wavenet info --wrong\nwavenet: ... --wrong...\n```\n")


def test_a_command_can_continue_on_the_next_line(run):
    run("```console\n$ echo a \\\n> b\na b\n```\n")


@pytest.mark.slow
def test_a_page_runs_beside_a_studio_of_its_own(run):
    run(
        "<!-- with a studio -->\n\n"
        "```console\n$ curl -sf -o page.html http://127.0.0.1:7860 && echo http://127.0.0.1:7860\n"
        "http://127.0.0.1:7860\n```\n"
        "```python\nimport pathlib\ntext = pathlib.Path('page.html').read_text()\n"
        "print('WaveNet Studio' in text, 'http://127.0.0.1:7860')\n"
        "```\n```output exact\nTrue http://127.0.0.1:7860\n```\n"
    )


def test_a_marked_block_is_not_run(run):
    run("<!-- not run: needs a GPU -->\n\n```python\n1 / 0\n```\n")
    (block,) = read_blocks("<!-- not run: needs a GPU -->\n```python\n1 / 0\n```\n")
    assert block.not_run == "needs a GPU"
    assert slow_reason("# A\n\n<!-- slow page: trains a model -->\n") == "trains a model"


def test_a_block_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match="line 2"):
        read_blocks("a\n```python\nprint()\n")


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("3.61 bits\t3360  a.wav", "3.6107 bits/sample  3,360  a.wav".replace("/sample", "")),
        ("at /home/me/x", "at /tmp/pytest-1/x"),
        ("hash 0a1b2c3d", "hash fff1234567"),
        ("at 2026-01-01T10:00:00Z", "at 2027-02-03T11:12:13Z"),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("a\n...\nd", "a\nd"),
        ("a ... c", "a b c"),
        ("level -25 dB", "level -3.5 dB"),
    ],
)
def test_outputs_that_differ_only_in_numbers_are_equal(shown, found):
    assert find_difference(shown + "\n", found + "\n") is None


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("seed0.wav", "seed1.wav"),
        ("digits_7_theo.wav", "digits_8_theo.wav"),
        ("int8", "int4"),
        ("3 clips", "3 files"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a\n...\nd", "a\nb"),
        ("a.c", "abc"),
    ],
)
def test_other_differences_are_reported(shown, found):
    assert find_difference(shown + "\n", found + "\n")


def test_output_is_cleaned():
    text = "\x1b[1m/tmp/x/a.wav\x1b[0m\tb\n800 of 3,360 samples\n"
    text += "0 of 1 clips, 0.0 times real time\n\n"
    assert clean_output(text, {"/tmp/x": "/home/me"}) == "/home/me/a.wav  b\n"


def test_outputs_are_rewritten_and_the_rest_of_the_page_stays(run, tmp_path):
    page = (
        "# A\n\n```console\n$ echo 1\n2\n$ echo a \\\n> b\nold\n```\n\n"
        "    ```python\n    print('x')\n    ```\n    ```output\n    y\n    ```\nEnd.\n"
    )
    contents = run(page, rewrite=True)
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    replace_blocks(path, contents)
    new = path.read_text(encoding="utf-8")
    assert new == page.replace("old", "a b").replace("    y\n", "    x\n")
    assert run(new, rewrite=True) == {}
