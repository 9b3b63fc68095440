"""Memories in comparison with a plain list of all inputs."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavenet.model.memory import RingMemory, TensorMemory

CHANNELS = 3
LENGTHS = (2, 5, 1, 0, 8)  # of the rings; a layer of kernel size 1 has none
lengths = st.lists(st.integers(0, 9), min_size=1, max_size=4)
# a chunk of samples is written at once, or one by one
chunks = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=8)


@dataclass
class History:
    """A ring memory, and all inputs written to it."""

    memory: RingMemory
    inputs: list[torch.Tensor]  # per layer, (B, all samples, channels)

    @classmethod
    def start(cls, ring_lengths=LENGTHS, batch=2, width=CHANNELS):
        edges = tuple(torch.tensor([0, *ring_lengths]).cumsum(0).tolist())
        rings = torch.zeros(batch, edges[-1], width)
        inputs = [torch.zeros(batch, n, CHANNELS) for n in ring_lengths]  # zeros before the clip
        return cls(RingMemory(rings, edges), inputs)

    def write(self, samples, one_by_one, seed=0):
        """Write random inputs into all layers."""
        generator = torch.Generator().manual_seed(seed)
        batch = self.memory.rings.shape[0]
        new = [torch.randn(batch, samples, CHANNELS, generator=generator) for _ in self.inputs]
        self.inputs = [torch.cat(pair, dim=1) for pair in zip(self.inputs, new, strict=True)]
        if not one_by_one:
            for layer, x in enumerate(new):
                self.memory.extend(layer, x)
            self.memory.move_cursor(samples)
            return
        for t in range(samples):
            for layer, x in enumerate(new):
                self.memory.push(layer, x[:, t])
            self.memory.move_cursor(1)

    def expected(self, layer):
        """Return the newest inputs of a layer, up to the length of its ring."""
        edges = self.memory.edges
        inputs = self.inputs[layer]
        return inputs[:, inputs.shape[1] - (edges[layer + 1] - edges[layer]) :]


def written(samples, batch=2, seed=0, width=CHANNELS):
    history = History.start(batch=batch, width=width)
    history.write(samples, one_by_one=False, seed=seed)
    return history


def pasts(memory):
    return [memory.past(layer) for layer in range(len(memory.edges) - 1)]


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@given(lengths, chunks)
def test_a_ring_holds_the_newest_inputs_however_they_were_written(ring_lengths, writes):
    """Chunks of any size, and samples one by one, in any order."""
    history = History.start(ring_lengths)
    for seed, (samples, one_by_one) in enumerate(writes):
        history.write(samples, one_by_one, seed)
        assert history.memory.cursor == history.inputs[0].shape[1] - ring_lengths[0]
        for layer, past in enumerate(pasts(history.memory)):
            assert torch.equal(past, history.expected(layer))
    # negative control: a memory whose cursor is off by one has another past
    if writes and max(ring_lengths) > 1:
        history.memory.cursor += 1
        found = pasts(history.memory)
        assert not same(found, [history.expected(layer) for layer in range(len(found))])


@given(st.integers(1, 4), st.integers(1, 3), chunks)
def test_the_taps_are_the_inputs_one_dilation_apart(dilation, count, writes):
    history = History.start([count * dilation])
    for seed, (samples, one_by_one) in enumerate(writes):
        history.write(samples, one_by_one, seed)
    taps = history.memory.taps(0, dilation, count)
    assert len(taps) == count
    for k, tap in enumerate(taps):
        assert torch.equal(tap, history.expected(0)[:, k * dilation])


def test_selected_rows_are_copies_in_the_given_order():
    memory = written(11, batch=3).memory
    before = memory.rings.clone()
    selected = memory.select([2, 0, 2])
    assert selected.cursor == memory.cursor
    for past, whole in zip(pasts(selected), pasts(memory), strict=True):
        assert torch.equal(past, whole[[2, 0, 2]])
    assert not same(pasts(selected), pasts(memory))  # negative control: another order
    selected.rings.fill_(7)
    assert torch.equal(memory.rings, before)
    assert memory.select([]).rings.shape[0] == 0


@pytest.mark.parametrize("samples", [(11, 4), (4, 11), (0, 5), (7, 7), (16, 3)])
def test_memories_join_at_different_cursors(samples):
    """The rows then advance together, and each keeps its own past."""
    first, second = (written(n, seed=n) for n in samples)
    joined = first.memory.join(second.memory)
    assert joined.cursor == first.memory.cursor
    expected = [torch.cat(p) for p in zip(pasts(first.memory), pasts(second.memory), strict=True)]
    assert same(pasts(joined), expected)
    if (samples[0] - samples[1]) % 40:  # negative control: 40 is a multiple of all lengths
        plain = RingMemory(
            torch.cat([first.memory.rings, second.memory.rings]), joined.edges, joined.cursor
        )
        assert not same(pasts(plain), expected)
    together = History(
        joined, [torch.cat(p) for p in zip(*(h.inputs for h in pad(first, second)), strict=True)]
    )
    together.write(6, one_by_one=True)
    together.write(9, one_by_one=False)
    assert same(pasts(joined), [together.expected(layer) for layer in range(len(LENGTHS))])


def pad(*histories):
    """Put zeros before the inputs of the shorter history: they are older than any ring."""
    longest = max(h.inputs[0].shape[1] for h in histories)
    for history in histories:
        missing = longest - history.inputs[0].shape[1]
        inputs = [torch.nn.functional.pad(x, (0, 0, missing, 0)) for x in history.inputs]
        yield History(history.memory, inputs)


def test_a_clone_shares_nothing():
    history = written(11)
    clone = history.memory.clone()
    assert type(clone) is RingMemory
    assert same(pasts(clone), pasts(history.memory))
    kept = [past.clone() for past in pasts(clone)]
    history.write(3, one_by_one=False, seed=5)
    assert same(pasts(clone), kept)
    assert clone.cursor == 11
    assert not same(pasts(history.memory), kept)  # negative control: the original changed
    original = history.memory.rings.clone()
    clone.rings.fill_(7)
    assert torch.equal(history.memory.rings, original)


@pytest.mark.parametrize("cursor", [0, 3, 11])
def test_a_row_is_replaced_by_that_of_a_narrower_memory(cursor):
    """An engine may pad the channels; the padding stays zero, and other rows stay unchanged."""
    history = written(cursor, batch=3, width=CHANNELS + 2)
    memory, source = history.memory, written(8, batch=1, seed=9).memory
    before = [past.clone() for past in pasts(memory)]
    memory.set_row(1, source)
    assert memory.cursor == cursor
    for past, old, new in zip(pasts(memory), before, pasts(source), strict=True):
        assert torch.equal(past[1, :, :CHANNELS], new[0])
        assert not past[..., CHANNELS:].any()
        assert torch.equal(past[[0, 2]], old[[0, 2]])
    assert not torch.equal(pasts(memory)[1][1], before[1][1])  # negative control: row 1 changed


@given(st.integers(0, 20), st.integers(1, 20))
def test_a_memory_on_the_device_writes_the_same_rings(before, samples):
    """Its cursor is a tensor, so that a CUDA graph can change it."""
    plain, source = written(before), written(before)
    device = source.memory.with_device_cursor()
    assert device.rings is source.memory.rings
    generator = torch.Generator().manual_seed(1)
    for _ in range(samples):
        for layer, length in enumerate(LENGTHS):
            x = torch.randn(2, CHANNELS, generator=generator)
            if length:
                taps = zip(
                    device.taps(layer, 1, length), plain.memory.taps(layer, 1, length), strict=True
                )
                assert all(torch.equal(a, b) for a, b in taps)
            device.push(layer, x)
            plain.memory.push(layer, x)
        device.move_cursor(1)
        plain.memory.move_cursor(1)
    assert torch.equal(source.memory.rings, plain.memory.rings)
    assert source.memory.cursor == before  # until the engine that ran the graph counts
    source.memory.move_cursor(samples)
    assert same(pasts(source.memory), pasts(plain.memory))


def test_synchronize_copies_the_cursor_and_keeps_the_tensor():
    source = written(6).memory
    device = source.with_device_cursor()
    position = device.device_cursor
    assert position.tolist() == [6]
    oldest = [ring.clone() for ring in device.taps(1, 1, 5)]
    source.move_cursor(2)
    assert same(device.taps(1, 1, 5), oldest)  # negative control: nothing is synchronised yet
    device.synchronize(source)
    assert device.device_cursor is position
    assert position.tolist() == [8]
    assert same(device.taps(1, 1, 5), source.taps(1, 1, 5))
    assert not same(device.taps(1, 1, 5), oldest)


def test_a_memory_can_be_set_to_the_cursor_of_another():
    source, other = written(6).memory, written(2).memory
    other.synchronize(source)
    assert other.cursor == 6


def tensor_memory(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, 4), (batch, 2, 5))
    return TensorMemory([torch.randn(shape, generator=generator) for shape in shapes])


def test_tensors_are_selected_joined_and_cloned_row_by_row():
    memory, other = tensor_memory(), tensor_memory(2, seed=1)
    before = [tensor.clone() for tensor in memory.tensors]
    for selected, tensor in zip(memory.select([2, 0, 2]).tensors, before, strict=True):
        assert torch.equal(selected, tensor[[2, 0, 2]])
        assert not torch.equal(selected, tensor)  # negative control: another order
        selected.fill_(7)
    for joined, a, b in zip(memory.join(other).tensors, before, other.tensors, strict=True):
        assert torch.equal(joined, torch.cat([a, b]))
        joined.fill_(7)
    clone = memory.clone()
    assert same(clone.tensors, before)
    for tensor in clone.tensors:
        tensor.fill_(7)
    assert same(memory.tensors, before)  # nothing is shared
    memory.tensors[0].fill_(8)  # negative control: a change is noticed
    assert not same(memory.tensors, before)


def test_a_row_of_tensors_is_replaced():
    memory, source = tensor_memory(), tensor_memory(1, seed=1)
    before = [tensor.clone() for tensor in memory.tensors]
    memory.set_row(1, source)
    for tensor, old, new in zip(memory.tensors, before, source.tensors, strict=True):
        assert torch.equal(tensor[1], new[0])
        assert torch.equal(tensor[[0, 2]], old[[0, 2]])
        assert not torch.equal(tensor[1], old[1])  # negative control


def test_a_memory_of_tensors_has_no_numbers_that_change():
    memory = tensor_memory()
    before = [tensor.clone() for tensor in memory.tensors]
    device = memory.with_device_cursor()
    assert all(a is b for a, b in zip(device.tensors, memory.tensors, strict=True))
    device.synchronize(memory)
    memory.move_cursor(5)
    assert same(memory.tensors, before)
