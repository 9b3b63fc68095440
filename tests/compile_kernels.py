"""Compile the engine cpu before the tests, because each of their processes would compile it again.

python -m tests.compile_kernels
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from tests.conftest import tiny_model
from wavenet.engines.registry import PRECISIONS, make_engine
from wavenet.sampling import SamplingConfig


def compile_kernels(precision: str) -> None:
    """Run the engine once; its machine code is then cached."""
    model = tiny_model()
    engine = make_engine("cpu", model, precision, threads=1)
    values = {condition.name: "a" for condition in model.config.labels}
    conditioning = model.conditioning([values] * 2, [8] * 2, None)
    engine.run(engine.start(conditioning), 8, SamplingConfig(top_k=3, top_p=0.9), torch.rand(2, 8))


if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        list(processes.map(compile_kernels, PRECISIONS))
