"""Open `.npy` files of any origin.

Input: a path. Output: a memory-mapped array, whose file is as large as its header claims. Called by
`model.frame_features` and `corpus.reader`.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_open_memmap: Any = np.lib.format.open_memmap  # numpy has no types for it


def map_array(path: Path) -> NDArray[Any]:
    """Map a `.npy` file into memory, for reading. No objects are read, and no code is run.

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
    # numpy parses the header as Python: a damaged one can raise almost any error of that parser
    except Exception:
        raise ValueError("it is damaged, or is not an array of numbers (.npy)") from None
