"""Configs that are right, for the tests to spoil, and the sentence with which one is refused."""

import json
import time

import pytest

from wavenet.config import parse_config
from wavenet.errors import ConfigError

MODEL = {"residual_channels": 4, "gate_channels": 4, "skip_channels": 4, "dilations": [1, 2, 4]}
TRAIN = {"steps": 10}
DIGIT = {"kind": "label", "name": "digit", "values": ["0", "1"]}
LEVEL = {"kind": "number", "name": "level", "low": -60, "high": 0, "unit": "dB"}
WHOLE = {
    "format_version": 1,
    "name": "tiny",
    "audio": {"sample_rate": 8000},
    "codec": {"bits": 8},
    "model": MODEL,
}


def changed(base, **values):
    return {**base, **values}


def refusal(kind, value, limit_seconds=5.0):
    """Parse, and return the sentence of the refusal."""
    text = value if isinstance(value, str | bytes) else json.dumps(value)
    began = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        parse_config(kind, text, "here.json")
    assert time.perf_counter() - began < limit_seconds
    sentence = str(caught.value)
    assert sentence.startswith("here.json: ")
    assert len(sentence.splitlines()) == 1
    assert sentence.isprintable()
    return sentence
