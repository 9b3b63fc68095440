"""Quantisers: the nearest code, the grid of levels, gradients, the codebook, dead codes."""

import itertools

import pytest
import torch

from wavenet.autoencoder.finite_scalar_quantizer import FiniteScalarConfig
from wavenet.autoencoder.vector_quantizer import DEAD_SHARE, VectorQuantizerConfig
from wavenet.config import make_config
from wavenet.errors import ConfigError


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def vector(generator):
    """Return a vector quantiser with 12 random vectors of 3 numbers."""
    torch.manual_seed(0)
    return VectorQuantizerConfig(n_codes=12, dimension=3).build()


def test_a_vector_gets_the_nearest_code(vector, generator):
    latents = torch.randn(40, 3, generator=generator)
    found = vector.quantize(latents)
    for latent, code, quantized in zip(latents, found.codes, found.vectors, strict=True):
        distances = [float((latent - e).norm()) for e in vector.codebook]
        assert int(code) == distances.index(min(distances))
        assert torch.allclose(quantized, vector.codebook[code], atol=1e-6)
    # control: the codes of other latents are not the nearest ones
    shifted = vector.quantize(latents + 1).codes
    assert not torch.equal(shifted, found.codes)


def test_codes_have_the_shape_of_the_latents_without_the_last(vector):
    found = vector.quantize(torch.zeros(2, 5, 4, 3))
    assert found.codes.shape == (2, 5, 4) and found.vectors.shape == (2, 5, 4, 3)


@pytest.mark.parametrize(
    "config", [VectorQuantizerConfig(n_codes=12, dimension=3), FiniteScalarConfig(levels=(4, 3, 5))]
)
def test_the_vectors_of_the_codes_are_the_quantised_vectors(config, generator):
    torch.manual_seed(0)
    quantizer = config.build()
    found = quantizer.quantize(torch.randn(50, 3, generator=generator))
    assert torch.allclose(quantizer.vectors_of(found.codes), found.vectors, atol=1e-6)
    assert int(found.codes.min()) >= 0 and int(found.codes.max()) < quantizer.n_codes


def test_the_gradient_passes_straight_through(vector):
    latents = torch.randn(6, 3, requires_grad=True)
    weights = torch.randn(6, 3)
    (vector.quantize(latents).vectors * weights).sum().backward()
    assert torch.allclose(latents.grad, weights)


def test_the_commitment_loss_has_its_closed_form_and_moves_latents_to_the_codebook(vector):
    latents = torch.randn(6, 3, requires_grad=True)
    found = vector.quantize(latents)
    nearest = vector.codebook[found.codes]
    assert found.loss.item() == pytest.approx(0.25 * (latents - nearest).pow(2).mean().item())
    found.loss.backward()
    assert torch.allclose(latents.grad, 0.25 * 2 * (latents.detach() - nearest) / latents.numel())


def test_the_codebook_moves_to_the_means_of_its_vectors(generator):
    """With decay 0, one step gives the means, as one step of k-means."""
    quantizer = VectorQuantizerConfig(n_codes=2, dimension=1, decay=0.0).build()
    quantizer.codebook.copy_(torch.tensor([[-1.0], [1.0]]))
    latents = torch.tensor([[-3.0], [-2.0], [0.5], [1.5], [4.0]])
    codes = quantizer.quantize(latents).codes
    assert codes.tolist() == [0, 0, 1, 1, 1]
    quantizer.observe(latents, codes, generator)
    assert torch.allclose(quantizer.codebook, torch.tensor([[-2.5], [2.0]]))
    assert quantizer.counts.tolist() == [2, 3]


def test_the_averages_have_their_closed_form(generator):
    quantizer = VectorQuantizerConfig(n_codes=2, dimension=1, decay=0.9).build()
    quantizer.counts.fill_(2.0)
    quantizer.sums.fill_(6.0)
    quantizer.observe(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 0]), generator)
    assert quantizer.counts.tolist() == pytest.approx([0.9 * 2 + 0.1 * 2, 0.9 * 2])
    assert quantizer.codebook.flatten().tolist() == pytest.approx([(0.9 * 6 + 0.1 * 3) / 2, 3])


def test_a_dead_code_starts_again_at_a_vector_of_the_batch(generator):
    quantizer = VectorQuantizerConfig(n_codes=4, dimension=2).build()
    latents = torch.randn(40, 2, generator=generator)
    quantizer.counts.copy_(torch.tensor([10.0, 10.0, 0.5 * DEAD_SHARE * 10, 2 * DEAD_SHARE * 10]))
    quantizer.sums.fill_(100.0)
    codes = torch.arange(40) % 2  # nobody chooses the codes 2 and 3
    quantizer.observe(latents, codes, generator)
    is_latent = [bool((latents - e).norm(dim=1).min() < 1e-5) for e in quantizer.codebook]
    # control: a code that is rare, not dead, keeps its vector
    assert is_latent == [False, False, True, False]


def test_the_first_step_initialises_the_codebook_from_the_data(vector, generator):
    latents = 100 + torch.randn(60, 3, generator=generator)
    vector.observe(latents, vector.quantize(latents).codes, generator)
    assert len(vector.quantize(latents).codes.unique()) > 8


@pytest.mark.parametrize("levels", [(2,), (3,), (8, 6, 5), (4, 4)])
def test_all_codes_of_a_grid_are_different_vectors(levels):
    quantizer = FiniteScalarConfig(levels=levels).build()
    codes = torch.arange(quantizer.n_codes)
    vectors = quantizer.vectors_of(codes)
    expected = {
        tuple(round(2 * d / (n - 1) - 1, 4) for d, n in zip(digits, levels, strict=True))
        for digits in itertools.product(*(range(n) for n in levels))
    }
    assert {tuple(round(x, 4) for x in v) for v in vectors.tolist()} == expected
    # vectors of the grid, taken back through the bounding function, have their own codes
    places = (vectors + 1) / 2 * (torch.tensor(levels) - 1)
    latents = (2 * (places + 0.5) / torch.tensor(levels) - 1).atanh()
    assert torch.equal(quantizer.quantize(latents).codes, codes)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_levels_are_equally_wide(n):
    quantizer = FiniteScalarConfig(levels=(n,)).build()
    bounded = torch.linspace(-0.9999, 0.9999, 10_000)
    counts = quantizer.quantize(bounded.atanh()[:, None]).codes.bincount(minlength=n)
    assert counts.max() - counts.min() <= 2


def test_extreme_latents_have_codes_of_the_grid():
    quantizer = FiniteScalarConfig(levels=(4, 3)).build()
    codes = quantizer.quantize(torch.tensor([[-1e9, -1e9], [1e9, 1e9]])).codes
    assert codes.tolist() == [0, 11]


def test_the_grid_passes_the_gradient_of_its_bounding_function():
    latents = torch.tensor([[0.3, -0.2]], requires_grad=True)
    FiniteScalarConfig(levels=(5, 4)).build().quantize(latents).vectors.sum().backward()
    slope = 1 - latents.detach().tanh() ** 2
    assert torch.allclose(latents.grad, slope * torch.tensor([5 / 4, 4 / 3]))


def test_too_many_codes_are_refused():
    with pytest.raises(ConfigError, match="product of the levels is 4,096"):
        make_config(FiniteScalarConfig, "--levels", levels=(64, 64))
    with pytest.raises(ConfigError, match="from 2 to 512"):
        make_config(VectorQuantizerConfig, "--codes", n_codes=513)
