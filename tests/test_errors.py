"""The error classes: one base class, and a docstring that lists all of them."""

import inspect

from audio_utils.errors import AudioError
from wavenet import errors


def classes():
    found = inspect.getmembers(errors, inspect.isclass)
    return [kind for _, kind in found if kind.__module__ == errors.__name__]


def test_every_error_has_the_common_base_class_and_a_docstring():
    assert len(classes()) > 3
    for kind in classes():
        assert issubclass(kind, errors.WaveNetError)
        assert kind.__doc__


def test_the_tree_in_the_docstring_lists_exactly_the_existing_errors():
    lines = [line.removeprefix("│").strip() for line in errors.__doc__.splitlines()]
    listed = {line.split()[1] for line in lines if line.startswith(("├── ", "└── "))}
    assert listed == {kind.__name__ for kind in classes()} - {"WaveNetError"}


def test_the_audio_error_is_separate():
    assert not issubclass(AudioError, errors.WaveNetError)
    assert not issubclass(errors.WaveNetError, AudioError)
