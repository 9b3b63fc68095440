"""`import wavenet`: its public names, imported lazily."""

import subprocess
import sys

import pytest

import wavenet

PUBLIC = ["AudioClip", "Model", "Score", "WaveNetError"]
PUBLIC += ["compress", "decompress", "list_models", "load", "text_to_phones", "train", "verify"]


def test_the_public_names_are_these():
    assert sorted(wavenet.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(wavenet))
    for name in PUBLIC:
        assert getattr(wavenet, name).__doc__, f"{name} has no docstring"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="generate_everything"):
        _ = wavenet.generate_everything


def test_the_import_loads_no_other_package():
    """A program that only asks for the version must not wait for torch."""
    code = (
        "import sys; before = set(sys.modules); import wavenet; "
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {*sys.stdlib_module_names, "wavenet"}


def test_every_public_class_documents_its_methods():
    for owner in (wavenet.Model, wavenet.AudioClip, wavenet.Score):
        for name, member in vars(owner).items():
            if not name.startswith("_") and callable(member):
                assert member.__doc__, f"{owner.__name__}.{name} has no docstring"
