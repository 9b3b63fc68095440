"""Who has which task: what dead workers had is made again, and what killed them is found out."""

from types import SimpleNamespace

import pytest

from wavenet.batch.clip_worker import Session
from wavenet.errors import WaveNetError
from wavenet.worker_pool import MOST_STILLBORN, Hand, Loans


def lend_all(count, retries, **more):
    """Lend from so many tasks; gives the loans, and the records that come."""
    tasks = iter(
        SimpleNamespace(line=n, identity=str(n), seed=0, params_hash="", extra={})
        for n in range(count)
    )
    told = []
    session = Session(lambda: next(tasks, None), lambda task, record: told.append(record), **more)
    return Loans(session, retries), told


@pytest.mark.parametrize(("retries", "deaths"), [(0, 3), (2, 5)])
def test_groups_get_smaller_and_who_was_alone_is_blamed(retries, deaths):
    """All eight together, then two, then one."""
    loans, told = lend_all(8, retries)
    died = 0
    while True:
        hand = Hand(spoke=True)
        while loans.lend(hand) is not None:
            pass
        if not hand.taken:
            break
        if 5 in hand.taken:
            died += 1
            loans.take_back(hand, "exit -9", "")
        else:
            for line in [*hand.taken]:
                loans.hear(hand, "put", line, {"id": str(line), "error": None})
    assert died == deaths
    assert sorted(r["id"] for r in told) == [str(n) for n in range(8)]
    times = f" {retries + 1} times" if retries else ""
    errors = {r["id"]: r["error"] for r in told if r["error"]}
    assert errors == {"5": f"it killed its worker{times}"}
    assert not loans.has_more


def test_suspects_go_to_who_has_nothing_else():
    said = []
    loans, _ = lend_all(6, 1, say=said.append)
    one, other = Hand(spoke=True), Hand()
    assert [loans.lend(one).line for _ in range(2)] == [0, 1]
    assert loans.lend(other).line == 2
    loans.take_back(one, "exit -9", "")
    assert said == ["a worker was killed (exit -9); what it had under way is made again, 2 in all"]
    assert loans.lend(other) is None
    loans.hear(other, "back", 2)
    assert loans.lend(other).line == 0
    assert other.alone
    assert loans.lend(other) is None
    loans.hear(other, "put", 0, {})
    loans.hear(other, "idle")
    assert loans.lend(other).line == 1


def test_workers_that_never_speak_end_it():
    loans, _ = lend_all(1, 1)
    for _ in range(MOST_STILLBORN - 1):
        loans.take_back(Hand(), "exit 1", "see to it")
    with pytest.raises(WaveNetError, match=r"ended as they began \(exit 1\); see to it"):
        loans.take_back(Hand(), "exit 1", "see to it")
