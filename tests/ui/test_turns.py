"""Turns: in order, with place and estimate, and given back in every case."""

import time
from threading import Event, Thread

import pytest

from wavenet.ui import turns as turns_module
from wavenet.ui.turns import Turns


def test_the_first_request_has_its_turn_at_once() -> None:
    turns = Turns()
    with turns.request() as turn:
        assert list(turn.wait()) == []


def test_a_waiting_request_knows_its_place_and_the_time() -> None:
    now = [0.0]
    turns = Turns(clock=lambda: now[0])
    with turns.request() as done:
        list(done.wait())
        now[0] = 4.0
    with turns.request() as first, turns.request() as second, turns.request() as third:
        list(first.wait())
        now[0] = 5.0  # the first turn has lasted 1 s; the job before needed 4 s
        assert next(second.wait()) == (1, pytest.approx(3.0))
        assert next(third.wait()) == (2, pytest.approx(7.0))


def test_the_time_is_unknown_while_a_turn_lasts_longer_than_the_others() -> None:
    """The page said "about 0 s" for as long as the turn lasted."""
    now = [0.0]
    turns = Turns(clock=lambda: now[0])
    with turns.request() as done:
        list(done.wait())
        now[0] = 4.0
    with turns.request() as first, turns.request() as second:
        list(first.wait())
        now[0] = 9.0
        assert next(second.wait()) == (1, None)


def test_without_earlier_jobs_the_time_is_unknown() -> None:
    turns = Turns()
    with turns.request() as first, turns.request() as second:
        list(first.wait())
        assert next(second.wait()) == (1, None)


def test_an_abandoned_request_lets_the_next_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "UPDATE_SECONDS", 0.01)
    turns = Turns()
    with turns.request() as last_to_end:
        list(last_to_end.wait())
        with turns.request() as abandoned:
            assert next(abandoned.wait())[0] == 1
        with turns.request() as waiting:
            assert next(waiting.wait())[0] == 1, "the abandoned request still counts"


def test_one_turn_at_a_time_in_many_threads() -> None:
    turns = Turns()
    holders: list[int] = []
    overlaps: list[int] = []
    release = Event()

    def work(number: int) -> None:
        release.wait()
        with turns.turn():
            holders.append(number)
            if len(holders) != 1:
                overlaps.append(number)
            holders.remove(number)

    threads = [Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert not overlaps


def test_a_turn_ends_after_an_error() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError), turns.turn():
        raise RuntimeError
    with turns.request() as turn:
        assert list(turn.wait()) == []


def test_memory_is_released_once_after_the_last_of_several_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns_module, "IDLE_SECONDS", 0.2)
    released = Event()
    calls: list[float] = []

    def release() -> None:
        calls.append(time.monotonic())
        released.set()

    monkeypatch.setattr(turns_module, "release_memory", release)
    turns = Turns()
    for _ in range(5):
        with turns.turn():
            ended = time.monotonic()
    assert not calls
    assert released.wait(30)
    assert len(calls) == 1 and calls[0] - ended > 0.19
