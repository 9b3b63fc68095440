"""What every engine offers, and the state that goes through it.

A `Conditioning` and codes enter, codes leave. An engine owns no stream: all that changes is in the
`State`, a plain value that the caller holds, so that streams can be interleaved and dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.model.conditioning import Conditioning
from wavenet.model.wavenet import WaveNet


@dataclass
class State:
    """Where a batch of streams stands; each engine adds what it remembers of the past.

    Attributes:
        conditioning: of the batch.
        position: (B,) int64, samples of each clip that are there already.
        last: (B,) int64, the newest code of each clip; the start code before the first.
    """

    conditioning: Conditioning
    position: Tensor
    last: Tensor


StateT = TypeVar("StateT", bound=State)


class Engine(Protocol[StateT]):
    """Runs one model. B is the batch, P the parameters of the output distribution."""

    name: str
    model: WaveNet

    def start(self, conditioning: Conditioning) -> StateT:
        """Make the state of a batch of clips of which no sample is there yet."""
        ...

    def prefill(self, state: StateT, prompts: Sequence[Tensor]) -> None:
        """Read the beginning of each clip in one parallel pass.

        Args:
            state: fresh from `start`; changed in place.
            prompts: per clip (T,) int64 codes, T may be 0 and differ between clips.
        """
        ...

    def step(self, state: StateT, codes: Tensor) -> Tensor:
        """Predict the next sample of each clip, then take `codes` (B,) as that sample.

        Returns:
            params (B, P) of the prediction, made before the codes were seen.
        """
        ...

    def run(self, state: StateT, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each clip.

        Args:
            state: changed in place. With guidance it has two rows for each clip, the first with
                its conditions and the second without (see `sampling.guide`); both take the code.
            noise: (B, n) float32 uniforms in [0, 1), one per sample.
        Returns:
            codes (B, n) int64.
        """
        ...

    def select(self, state: StateT, rows: Sequence[int]) -> StateT:
        """Give the state of some clips of the batch; the others retire."""
        ...

    def join(self, state: StateT, other: StateT) -> StateT:
        """Put the clips of another state behind those of this one; neither is used after it."""
        ...
