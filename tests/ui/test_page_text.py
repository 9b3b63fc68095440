"""Messages on the page and in the API contain no advice that only the command line can follow."""

import pytest
import torch

from wavenet.devices import device_errors
from wavenet.errors import OutOfMemory
from wavenet.training.resolve_config import describe_missing_field
from wavenet.ui.page_text import error_sentence, without_options


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a is wrong; scale it, or use --normalize", "a is wrong; scale it"),
        ("a is wrong; use --channel left; resume", "a is wrong; resume"),
        ("a is wrong; use one (--channel left), or half (--channel side)", "a is wrong"),
        (
            "the GPU was lost (x); finished work is kept",
            "the GPU was lost (x); finished work is kept",
        ),
        ("take-1--a.wav is wrong; use take--b.wav", "take-1--a.wav is wrong; use take--b.wav"),
        ("a; b, or c", "a; b, or c"),
        ("", ""),
    ],
)
def test_advice_that_names_options_is_omitted(message: str, shown: str) -> None:
    assert without_options(message) == shown


def test_errors_of_the_library_are_shown_without_options() -> None:
    with pytest.raises(OutOfMemory, match="--device cpu") as full, device_errors():
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert error_sentence(full.value) == (
        "There is too little memory (CUDA out of memory); generate less at once."
    )
    missing = describe_missing_field("a.wav", "digit", ["take"])
    assert error_sentence(OutOfMemory(missing)) == "a.wav has no field 'digit'; its fields: take."
