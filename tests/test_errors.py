"""The family of errors: one parent, and a docstring that lists all of them."""

import inspect

from audio_utils.errors import AudioError
from wavenet import errors


def classes():
    found = inspect.getmembers(errors, inspect.isclass)
    return [kind for _, kind in found if kind.__module__ == errors.__name__]


def test_every_error_belongs_to_the_one_family():
    assert len(classes()) > 3
    for kind in classes():
        assert issubclass(kind, errors.WaveNetError)
        assert kind.__doc__


def test_the_tree_in_the_docstring_lists_exactly_the_errors_there_are():
    lines = [line.removeprefix("│").strip() for line in errors.__doc__.splitlines()]
    drawn = {line.split()[1] for line in lines if line.startswith(("├── ", "└── "))}
    assert drawn == {kind.__name__ for kind in classes()} - {"WaveNetError"}


def test_the_error_of_audio_stands_beside_the_family():
    assert not issubclass(AudioError, errors.WaveNetError)
    assert not issubclass(errors.WaveNetError, AudioError)
