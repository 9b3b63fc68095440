"""JSON objects with a name twice."""

import json

import pytest

from wavenet.config import StrictConfig, parse_config
from wavenet.errors import ConfigError, DataError
from wavenet.user_input.json_objects import unique_object


def test_a_name_that_occurs_twice_is_refused_at_any_depth():
    assert json.loads('{"a": {"b": 1}}', object_pairs_hook=unique_object) == {"a": {"b": 1}}
    with pytest.raises(DataError, match="'b' twice"):
        json.loads('{"a": {"b": 1, "b": 1}}', object_pairs_hook=unique_object)


def test_a_config_with_a_name_twice_is_refused():
    class Rate(StrictConfig):
        rate: int

    assert parse_config(Rate, '{"rate": 1}', "x").rate == 1
    with pytest.raises(ConfigError, match="'rate' twice"):
        parse_config(Rate, '{"rate": 1, "rate": 2}', "x")
