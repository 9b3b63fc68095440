"""The only random numbers of generation: uniforms keyed by seed, noise stream and sample index.

Input: seed, noise stream, a range of samples. Output: uniforms of a counter-based generator. The
uniform of sample t is a pure function of (seed, noise stream, t); it does not depend on the batch,
the chunks or the engine. The same seed therefore always has the same uniforms. Called by
`request`, `search`, the evaluation and the studio.
"""

import numpy as np
import torch
from torch import Tensor

from wavenet.errors import ConditionError

WORDS_PER_BLOCK = 4  # Philox-4x64 turns one counter value into four 64-bit words


def uniform_noise(seed: int, noise_stream: int, first: int, count: int) -> Tensor:
    """Return the uniforms of samples first .. first + count - 1.

    Args:
        seed, noise_stream: 0 to 2**64 - 1.
        first: sample index, 0 for the first generated sample.
        count: number of samples.
    Returns:
        (count,) float32 in [0, 1), multiples of 2**-24.
    Raises:
        ConditionError: the seed or the noise stream is out of range.
    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
    """
    if not (0 <= seed < 2**64 and 0 <= noise_stream < 2**64):
        raise ConditionError(
            f"the seed and the noise stream must be 0 to {2**64 - 1}, found {seed} and "
            f"{noise_stream}"
        )
    # numpy would turn a list of a small number and one of 2**63 or more into rounded floats
    key = np.array([seed, noise_stream], dtype=np.uint64)
    block, skip = divmod(first, WORDS_PER_BLOCK)
    words = np.random.Philox(key=key, counter=[block, 0, 0, 0]).random_raw(skip + count)
    # the top 24 bits, which a float32 represents exactly
    return torch.from_numpy((words[skip:] >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))
