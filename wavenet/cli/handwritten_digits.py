"""Images of handwritten digits: 8 x 8 pixels, from the data that scikit-learn contains.

Output: a file name and levels (8, 8), 0 to 15, per image. The data have 17 grey levels, 0 to 16;
here 16 becomes 15, so that a pixel has 4 bits, as in images of sound. Called by `wavenet images`.

Split. Images that follow each other resemble each other, probably because a person wrote them: the
nearest neighbour of 54 % of the images is fewer than 100 places away; by chance it would be 11 %.
So the split has three blocks, in the order of the data. Random test images would be easier.

Source: E. Alpaydin and C. Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository; `sklearn.datasets.load_digits` contains its test set.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from audio_utils.sound_images import LEVELS

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 8  # rows, and columns
# The first images of the data, then those up to the next number, and the others.
VALIDATION_FROM, TEST_FROM = 1257, 1437


def handwritten_digits() -> "Iterator[tuple[str, Tensor]]":
    """Yield the file name and the levels of every image.

    Yields:
        A name such as "7_train_0007.wav", with the digit, the split ("train", "validation" or
        "test") and the index in the data; and levels (8, 8) int64, row 0 at the top.
    """
    import torch
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = torch.from_numpy(data.images).to(torch.int64).clamp(max=LEVELS - 1)
    for index, (digit, image) in enumerate(zip(data.target, levels, strict=True)):
        yield f"{digit}_{split_of(index)}_{index:04}.wav", image


def split_of(index: int) -> str:
    """Return "train", "validation" or "test" for an index in the data."""
    if index < VALIDATION_FROM:
        return "train"
    return "validation" if index < TEST_FROM else "test"
