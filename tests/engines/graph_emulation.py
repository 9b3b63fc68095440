"""A CUDA graph emulated on the CPU: recorded operations are repeated on the same tensors."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.engines.conftest import memory_tensors
from wavenet.engines.gpu import cuda_graph


class EmulatedGraph(TorchDispatchMode):
    """The operations of a call, which `replay` repeats: no Python code runs again.

    Args:
        body: called once, to record it.

    Attributes:
        calls: (operation, arguments, keyword arguments, output), in order.
        replays: number of repetitions.
    """

    def __init__(self, body):
        super().__init__()
        self.calls = []
        self.replays = 0
        with self:
            body()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        """Run the operations again and write their outputs into the recorded tensors."""
        self.replays += 1
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor):
                    old.copy_(new)


def emulate_recording(monkeypatch):
    """Make the graph engine record on a CPU; return the list of graphs, filled as they are made."""
    graphs, captured_graphs = [], []
    real = cuda_graph.GraphEngine._prepare

    def prepare(engine, *arguments):
        captured_graphs.append(real(engine, *arguments))
        return captured_graphs[-1]

    def record(body, device):
        graphs.append(record_without_effect(body, captured_graphs[-1]))
        return graphs[-1]

    monkeypatch.setattr(cuda_graph.GraphEngine, "_prepare", prepare)
    monkeypatch.setattr(cuda_graph, "_capture", record)
    return graphs


def record_without_effect(body, captured):
    """Record a call and restore all that it changed, because a GPU records without computing."""
    changed = [*memory_tensors(captured.memory), captured.last, captured.time, captured.codes]
    before = [tensor.clone() for tensor in changed]
    graph = EmulatedGraph(body)
    for tensor, kept in zip(changed, before, strict=True):
        tensor.copy_(kept)
    return graph
