"""Models of images: the exact pixels that a prediction reads, masks, limits of a clip."""

import pytest
import torch

from wavenet.codec import MuLawCodec
from wavenet.config import make_config
from wavenet.errors import ConditionError, ConfigError
from wavenet.model.architectures import ARCHITECTURES, build_model
from wavenet.model.gated_pixel_cnn import GatedPixelCNNConfig
from wavenet.model.image_model import ImageConfig
from wavenet.model.masked_convolution import MaskedConv, Place, append_to_past, mask_a, mask_b
from wavenet.model.model_config import check_clip_length
from wavenet.model.pixel_cnn import PixelCNNConfig
from wavenet.model.row_lstm import RowLSTMConfig

HEIGHT, WIDTH = 7, 9
SIZES = {"height": HEIGHT, "width": WIDTH, "channels": 8, "output_channels": 8}
TARGETS = [(0, 0), (0, 4), (3, 0), (4, 4), (5, 8), (6, 3)]
EARLIER = {
    (row, column): {(a, b) for a in range(HEIGHT) for b in range(WIDTH) if (a, b) < (row, column)}
    for row, column in TARGETS
}


def build(config: ImageConfig):
    torch.manual_seed(0)
    return build_model(config, MuLawCodec(bits=4), 8000).double()


def pixels_read(model, target):
    """Return the (row, column) of the pixels with a gradient of the params of the target."""
    found = set()
    for seed in range(4):  # a ReLU can block the path to a pixel in a single image
        codes = torch.randint(
            16, (8, HEIGHT * WIDTH), generator=torch.Generator().manual_seed(seed)
        )
        embedded = []

        def record(module, inputs, output, embedded=embedded):
            embedded.append(output.detach().requires_grad_())
            return embedded[0]

        with model.embedding.register_forward_hook(record):
            conditioning = model.conditioning([{}] * 8, [codes.shape[1]] * 8)
            index = target[0] * WIDTH + target[1]
            params = model(codes, conditioning)[:, :, index]
            (gradient,) = torch.autograd.grad(params.square().sum(), embedded)
        sizes = gradient.abs().sum((0, 2))
        # the input at t is pixel t - 1
        found |= {divmod(int(t) - 1, WIDTH) for t in sizes.nonzero().flatten()}
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_pixelcnn_has_a_blind_spot(target, kernel_size):
    """Of the rows above, the pixels to the right of a line are not read, at any depth."""
    model = build(PixelCNNConfig(**SIZES, layers=8, kernel_size=kernel_size))
    (row, column), reach = target, kernel_size // 2
    blind = {(a, b) for a, b in EARLIER[target] if a < row and b > column + reach * (row - a)}
    assert pixels_read(model, target) == EARLIER[target] - blind


def test_there_are_pixels_in_the_blind_spot():
    """The test above would also pass for an image that is too narrow for a blind spot."""
    model = build(PixelCNNConfig(**SIZES, layers=8))
    assert EARLIER[4, 4] - pixels_read(model, (4, 4)) == {
        *((3, n) for n in (6, 7, 8)),
        *((2, n) for n in (7, 8)),
        (1, 8),
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_gated_pixelcnn_has_no_blind_spot(target, kernel_size):
    model = build(GatedPixelCNNConfig(**SIZES, layers=8, kernel_size=kernel_size))
    assert pixels_read(model, target) == EARLIER[target]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_gated_pixelcnn_reads_a_rectangle(target, layers):
    model = build(GatedPixelCNNConfig(**SIZES, layers=layers))
    row, column = target
    assert pixels_read(model, target) == {
        (a, b)
        for a, b in EARLIER[target]
        if row - a <= layers and column - layers <= b <= column + layers
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_row_lstm_reads_a_triangle(target, layers):
    model = build(RowLSTMConfig(**SIZES, layers=layers))
    row, column = target
    triangle = {
        (a, b)
        for a, b in EARLIER[target]
        if column - (row - a) - (layers + 1) <= b <= column + (row - a)
    }
    assert pixels_read(model, target) == triangle


@pytest.mark.parametrize(
    "taps, shift",
    [(mask_a(3)[:2] + mask_a(3)[3:], 1), (mask_b(3), 0), ([(1, 0)], 1)],
    ids=["one tap is missing", "mask B in the first layer", "one tap"],
)
def test_another_mask_is_noticed(taps, shift):
    """Negative control of the tests above."""
    model = build(PixelCNNConfig(**SIZES, layers=1))
    expected = pixels_read(model, (4, 4))
    model.first = MaskedConv(8, 8, taps, WIDTH, shift).double()
    assert pixels_read(model, (4, 4)) != expected


def test_masks():
    assert mask_a(3) == [(1, 1), (1, 0), (1, -1), (0, 1)]
    assert mask_b(3) == [*mask_a(3), (0, 0)]
    assert [len(mask_a(size)) for size in (3, 5, 7)] == [4, 12, 24]


def test_a_masked_convolution_equals_a_convolution_of_an_image():
    """The taps of mask A and B are a kernel of torch with zeros in the other places."""
    torch.manual_seed(1)
    conv = MaskedConv(2, 3, mask_b(3), WIDTH)
    image = torch.randn(4, 2, HEIGHT, WIDTH)
    kernel = torch.zeros(3, 2, 3, 3)
    for n, (up, left) in enumerate(mask_b(3)):
        kernel[:, :, 1 - up, 1 - left] = conv.linear.weight[:, 2 * n : 2 * n + 2]
    expected = torch.nn.functional.conv2d(image, kernel, conv.linear.bias, padding=1)
    index = torch.arange(HEIGHT * WIDTH)[None]
    place = Place(index // WIDTH, index % WIDTH)
    x = image.flatten(2).transpose(1, 2)
    found = conv(append_to_past(None, x, WIDTH + 1), place)
    torch.testing.assert_close(found.transpose(1, 2), expected.flatten(2))
    # negative control: columns that are wrong by one
    moved = conv(append_to_past(None, x, WIDTH + 1), Place(place.rows, (place.columns + 1) % WIDTH))
    assert not torch.allclose(moved.transpose(1, 2), expected.flatten(2))


@pytest.mark.parametrize("name", ["pixelcnn", "gated-pixelcnn", "row-lstm"])
def test_the_first_prediction_depends_on_the_conditions_only(name):
    model = build(ARCHITECTURES[name].config(**SIZES))
    conditioning = model.conditioning([{}] * 16, [1] * 16)
    params = model.hidden_states(torch.arange(16)[:, None], conditioning)
    assert torch.equal(params, params[:1].expand_as(params))


@pytest.mark.parametrize("name", ["pixelcnn", "gated-pixelcnn", "row-lstm"])
def test_a_clip_is_at_most_one_image(name):
    config = ARCHITECTURES[name].config(**SIZES)
    assert (config.longest_clip, config.receptive_field) == (HEIGHT * WIDTH, None)
    check_clip_length(config, HEIGHT * WIDTH, 8000)
    with pytest.raises(ConditionError, match=r"at most 63 samples .*, found 64 samples"):
        check_clip_length(config, HEIGHT * WIDTH + 1, 8000)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kernel_size": 4}, "kernel_size must be odd.*found 4.*3 or 5"),
        ({"kernel_size": 1}, "kernel_size"),
        ({"kernel_size": 11}, "width must be at least kernel_size, 11, found 9"),
        ({"height": 0}, "height"),
    ],
)
def test_wrong_sizes_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_config(PixelCNNConfig, "images", **{**SIZES, **settings})


@pytest.mark.parametrize("start", [0, 30])
def test_the_vertical_stack_equals_convolutions_of_the_whole_image(start):
    """With zeros around the image in every layer; from any pixel on."""
    model = build(GatedPixelCNNConfig(**SIZES, layers=3))
    torch.manual_seed(2)
    image = torch.randn(1, HEIGHT * WIDTH, 8).double()
    inputs = torch.nn.functional.pad(image[:, :-1], (0, 0, 1, 0))  # the pixel before each pixel
    stored = torch.zeros(1, model.config.past_codes, 8).double()
    index = torch.arange(HEIGHT * WIDTH)[None]
    for part in (slice(0, start), slice(start, None)):
        place = Place(index[:, part] // WIDTH, index[:, part] % WIDTH)
        if place.rows.numel():
            found = model._vertical_sums(inputs[:, part], place, stored)
    x = image.transpose(1, 2).unflatten(2, (HEIGHT, WIDTH))
    for layer, sums in zip(model.vertical, found, strict=True):
        taps = layer.linear.weight.unflatten(1, (len(layer.ups), 3, 8)).permute(0, 3, 1, 2)
        padded = torch.nn.functional.pad(x, (1, 1, 1, 0))[:, :, : HEIGHT + len(layer.ups) - 1]
        x = torch.nn.functional.conv2d(padded, taps, layer.linear.bias)
        expected = x.flatten(2).transpose(1, 2)[:, start:]
        torch.testing.assert_close(sums, expected)
        x = torch.tanh(x[:, :8]) * torch.sigmoid(x[:, 8:])


@pytest.mark.parametrize("name", ["pixelcnn", "gated-pixelcnn", "row-lstm"])
def test_the_description_of_the_past_is_what_a_gradient_measures(name):
    """The farthest row above, or the growth of a triangle, of a prediction in the last row."""
    model = build(ARCHITECTURES[name].config(**SIZES, layers=2, kernel_size=3))
    read, facts = pixels_read(model, (HEIGHT - 1, WIDTH // 2)), model.describe()
    rows = HEIGHT - 1 - min(row for row, _ in read)
    described = facts["receptive_field"]
    assert described.startswith("the pixels before") and "receptive_field_ms" not in facts
    if name == "row-lstm":
        right = {row: max(c for r, c in read if r == row) for row in range(HEIGHT - 3, HEIGHT - 1)}
        assert rows == HEIGHT - 1 and "1 columns wider to each side with every row" in described
        assert right[HEIGHT - 3] - right[HEIGHT - 2] == 1
    else:
        assert f"up to {rows} rows above" in described
