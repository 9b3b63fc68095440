"""Open `.npy` files of any origin.

Input: a path. Output: a memory-mapped array, whose file has the size that its header declares.
Called by `model.frame_features` and `corpus.reader`.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_open_memmap: Any = np.lib.format.open_memmap  # numpy has no types for it


def map_array(path: Path) -> NDArray[Any]:
    """Map a `.npy` file into memory for reading, without reading objects or running code.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged, or not a `.npy` file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2, and sizes that overflow
            array: NDArray[Any] = _open_memmap(path, mode="r")
            return array
    except OSError:
        raise
    # numpy parses the header as Python, so a damaged one can raise almost any error
    except Exception:
        raise ValueError("it is damaged, or is not an array of numbers (.npy)") from None
