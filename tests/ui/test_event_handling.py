"""Joined chunks and requests to stop."""

import time
from collections.abc import Iterator

import torch

from wavenet.ui.event_handling import StopRequests, pace_chunks


def test_fast_chunks_are_joined_and_none_is_lost() -> None:
    chunks = list(torch.arange(12.0).split(2))
    joined = list(pace_chunks(iter(chunks), seconds=60))
    assert [len(chunk) for chunk in joined] == [2, 10]
    assert torch.equal(torch.cat(joined), torch.arange(12.0))
    for first_samples, expected in ((3, [4, 8]), (99, [12])):
        paced = pace_chunks(iter(chunks), seconds=60, first_samples=first_samples)
        assert [len(chunk) for chunk in paced] == expected

    def slow_chunks() -> Iterator[torch.Tensor]:
        for chunk in chunks:
            time.sleep(0.01)
            yield chunk

    assert len(list(pace_chunks(slow_chunks(), seconds=0.001))) == len(chunks)


def test_old_stop_requests_are_removed() -> None:
    stop_requests = StopRequests()
    for run_number in range(stop_requests.MAX_KEPT + 5):
        stop_requests.add(run_number)
    assert 4 not in stop_requests
    assert 5 in stop_requests
    assert stop_requests.MAX_KEPT + 4 in stop_requests
