"""Numeric options accept the usual spellings of numbers, and report wrong ones in one sentence."""

import inspect
from typing import Any

import pytest
import typer

from wavenet.cli.main import app, run
from wavenet.cli.numeric_options import accept_typed_numbers
from wavenet.errors import ConditionError


def numeric_options() -> dict[str, Any]:
    """Return all options whose default parser reads numbers, by command and name."""
    found = {}

    def walk(command: Any, name: str) -> None:
        for child in getattr(command, "commands", {}).values():
            walk(child, f"{name} {child.name}")
        parameters = inspect.signature(command.callback).parameters if command.callback else {}
        for option in command.params:
            text = str(parameters[option.name].annotation) if option.name in parameters else ""
            if "int" in text.split("typer.models")[0] or "float" in text.split("typer.models")[0]:
                found[f"{name} {option.opts[0]}"] = option

    command = typer.main.get_command(app)
    accept_typed_numbers(command)
    walk(command, "wavenet")
    return found


OPTIONS = numeric_options()


def test_the_options_are_found() -> None:
    assert len(OPTIONS) > 40
    assert {"wavenet generate --seed", "wavenet bench --streams"} <= set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_numeric_option_reports_a_wrong_value_in_one_sentence(name: str) -> None:
    option = OPTIONS[name]
    with pytest.raises(ConditionError) as error:
        option.process_value(None, ["abc"] if option.multiple else "abc")
    sentence = str(error.value)
    assert sentence.startswith(f"{name.split()[-1]} must be a ")
    assert sentence.endswith("number, found 'abc'")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("generate --seconds 1,5", "--seconds must be a number with a decimal point, such as 1.5"),
        ("generate --seed 7.5", "--seed must be a whole number, found '7.5'"),
        ("generate --seed 7,5", "--seed must be a whole number, found '7,5'"),
        ("generate --temperature abc", "--temperature must be a number, found 'abc'"),
        ("generate --top-k inf", "--top-k must be a whole number, found 'inf'"),
        ("bench --streams 1 --streams a", "--streams must be a whole number, found 'a'"),
        ("ui --port 70000", "--port must be 1 to 65535, found 70000"),
        ("batch x.jsonl --limit 0", "--limit must be at least 1, found 0"),
    ],
)
def test_a_wrong_number_is_wrong_usage(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"wavenet: {sentence}")


@pytest.mark.parametrize("text", ["7", "7.0", " 7", "7e0", "\N{MINUS SIGN}7"])
def test_every_usual_spelling_is_the_number(text: str) -> None:
    number = -7 if text.startswith("\N{MINUS SIGN}") else 7
    context: Any = None
    for name, value in (("wavenet generate --count", text), ("wavenet bench --streams", [text])):
        result = OPTIONS[name].process_value(context, value)
        assert result in (number, [number], (number,))
        assert all(type(item) is int for item in ([result] if type(result) is int else result))
