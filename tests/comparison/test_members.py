"""Members: sizes for a budget, and names."""

import math

import pytest

from wavenet.codec import MuLawCodec
from wavenet.comparison.members import (
    BY_NAME,
    MEMBERS,
    _configs,
    check_smallest_size,
    choose_size,
    count_parameters,
    find_members,
)
from wavenet.comparison.plan import BUDGETS, Budget, find_budgets, find_own_budgets
from wavenet.errors import ConfigError
from wavenet.model.architectures import ARCHITECTURES
from wavenet.model.conditions import LabelCondition

CODEC = MuLawCodec()
LABELS = (LabelCondition(name="digit", values=("a", "b"), dropout=0.1),)
IMAGES = {"pixelcnn", "gated-pixelcnn", "row-lstm"}  # models of images, not of recordings
FIXED = {"histogram", "linear-prediction"}  # members of one size
SIZED = [member for member in MEMBERS if member.name not in FIXED]


def size_of(name, parameters):
    config = choose_size(BY_NAME[name], parameters, LABELS, CODEC, 8000)
    return config, count_parameters(config, CODEC, 8000)


def test_every_architecture_of_clips_is_a_member():
    assert {member.architecture for member in MEMBERS} == set(ARCHITECTURES) - IMAGES
    assert len(BY_NAME) == len(MEMBERS)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: b.name)
@pytest.mark.parametrize("member", SIZED, ids=lambda m: m.name)
def test_a_member_has_about_the_parameters_of_its_budget(member, budget):
    config, count = size_of(member.name, budget.parameters)
    # tables grow by a factor of two; widths in small steps
    limit = 1.45 if member.architecture == "ngram" else 1.15
    assert max(count / budget.parameters, budget.parameters / count) < limit
    assert config.architecture == member.architecture


def test_the_size_closest_in_ratio_is_chosen():
    """Negative control: the size for another budget is farther from this one."""
    _, count = size_of("gru", 60_000)
    _, other = size_of("gru", 75_000)
    assert abs(math.log(count / 60_000)) < abs(math.log(other / 60_000))


def test_a_budget_far_below_the_smallest_model_is_refused():
    """Regression: a WaveNet with 13 times the parameters of its budget was trained."""
    smallest = count_parameters(next(_configs(BY_NAME["wavenet"], LABELS)), CODEC, 8000)
    size = (LABELS, CODEC, 8000)
    check_smallest_size(BY_NAME["wavenet"], math.ceil(smallest / 1.5), *size)
    advice = f"too few for wavenet, .* has {smallest:,}; use --parameters {smallest} or more"
    with pytest.raises(ConfigError, match=advice):
        check_smallest_size(BY_NAME["wavenet"], smallest // 2 - 1, *size)
    for member in MEMBERS:
        check_smallest_size(member, BUDGETS[0].parameters, *size)


def test_convolutions_and_wavenet_differ_in_the_receptive_field_only():
    plain, count = size_of("convolutions", 50_000)
    dilated, other = size_of("wavenet", 50_000)
    assert count == other
    assert plain.model_copy(update={"dilations": dilated.dilations}) == dilated
    assert plain.receptive_field == 19 < dilated.receptive_field == 1023


def test_names():
    assert find_members([]) == list(MEMBERS)
    assert [m.name for m in find_members(["wavenet", "gru"])] == ["gru", "wavenet"]
    with pytest.raises(ConfigError, match="did you mean gru"):
        find_members(["gruu"])


def test_budgets():
    assert find_budgets([]) == list(BUDGETS)
    assert find_budgets(["large"]) == [BUDGETS[2]]
    assert find_budgets([], 1000, 2.0) == [Budget("own-1000-2.0", 1000, 2.0)]


def test_own_budgets_are_found_by_their_folders(tmp_path):
    for name in ("own-1000-2.0", "own-500-0.1", "own", "own-x-1.0", "small"):
        (tmp_path / name).mkdir()
    assert find_own_budgets(tmp_path) == [
        *find_budgets([], 1000, 2.0),
        *find_budgets([], 500, 0.1),
    ]
    for arguments in (["huge"], None, None), ([], 1000, None), (["small"], 1000, 2.0):
        with pytest.raises(ConfigError):
            find_budgets(*arguments)
