"""The number of clips that are generated side by side."""

from wavenet.engines.registry import make_engine
from wavenet.generation.batch_size import MAX_BATCH_CPU, default_batch_size


def test_the_default_batch_size_is_limited_by_memory(make_checkpoint):
    checkpoint = make_checkpoint()
    engine = make_engine("cached", checkpoint.model)
    assert default_batch_size(checkpoint, engine, 1) == MAX_BATCH_CPU
    assert default_batch_size(checkpoint, engine, 1 << 40) == 1
