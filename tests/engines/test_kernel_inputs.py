"""Tests of the inputs that the compiled engines share."""

from types import SimpleNamespace
from typing import cast

import pytest

from wavenet.engines.kernel_inputs import CATEGORICAL, GAUSSIAN, LOGISTIC, output_family
from wavenet.errors import ModelUnsupported
from wavenet.model.distributions import Categorical
from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.model.wavenet import WaveNet


def _model(distribution: object) -> WaveNet:
    return cast("WaveNet", SimpleNamespace(distribution=distribution))


@pytest.mark.parametrize(
    ("kind", "family"),
    [(Categorical, CATEGORICAL), (LogisticMixture, LOGISTIC), (GaussianMixture, GAUSSIAN)],
)
def test_each_distribution_has_its_family(kind: type, family: int) -> None:
    assert output_family(_model(object.__new__(kind))) == family


def test_an_unknown_distribution_is_refused() -> None:
    with pytest.raises(ModelUnsupported):
        output_family(_model(object()))
