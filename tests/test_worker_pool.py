"""Tasks of dead workers are retried, tasks that kill workers are isolated, no process remains."""

import multiprocessing
import os
import signal
from dataclasses import dataclass

import pytest

from wavenet.errors import WaveNetError
from wavenet.progress import CallbackProgress, NoProgress
from wavenet.worker_pool import (
    MAX_FAILED_STARTS,
    TaskQueue,
    TaskScheduler,
    WorkerEvent,
    WorkerPool,
    WorkerTasks,
    run_worker,
)


@dataclass(frozen=True)
class NumberTask:
    """A task that contains only a number."""

    key: int


class NumberQueue(TaskQueue):
    """Tasks with the numbers 0 to count - 1; records their events."""

    def __init__(self, count, max_retries=1):
        self.tasks, self.max_retries = map(NumberTask, range(count)), max_retries
        self.results, self.states, self.given_up = {}, [], {}

    def next_task(self):
        return next(self.tasks, None)

    def update_task(self, task, state):
        self.states.append((task.key, state))

    def finish_task(self, task, result):
        assert task.key not in self.results
        self.results[task.key] = result

    def handle_crash(self, task, crashes):
        if crashes <= self.max_retries:
            return True
        self.given_up[task.key] = crashes
        return False


def make_scheduler(count, max_retries=1):
    """Return a scheduler over numbers, its queue, and its messages."""
    queue, messages = NumberQueue(count, max_retries), []
    return TaskScheduler(queue, CallbackProgress(lambda _: None, messages.append)), queue, messages


@pytest.mark.parametrize(("max_retries", "deaths"), [(0, 3), (2, 5)])
def test_parts_become_smaller_and_only_a_task_that_is_alone_fails(max_retries, deaths):
    """The groups have eight tasks, then two, then one."""
    scheduler, queue, _ = make_scheduler(8, max_retries)
    died = 0
    while True:
        worker = WorkerTasks(has_started=True)
        while scheduler.next_task(worker) is not None:
            pass
        if not worker.unfinished:
            break
        if 5 in worker.unfinished:
            died += 1
            scheduler.requeue(worker, "exit -9", "")
        else:
            for key in [*worker.unfinished]:
                scheduler.handle(worker, WorkerEvent.FINISHED, key, "result")
    assert died == deaths
    assert queue.given_up == {5: max_retries + 1}
    assert sorted(queue.results) == [0, 1, 2, 3, 4, 6, 7]
    assert not scheduler.may_have_tasks


def test_retried_tasks_go_to_workers_without_other_tasks():
    scheduler, _, messages = make_scheduler(6)
    dead, other = WorkerTasks(has_started=True), WorkerTasks()
    assert [scheduler.next_task(dead).key for _ in range(2)] == [0, 1]
    assert scheduler.next_task(other).key == 2
    scheduler.requeue(dead, "exit -9", "")
    assert len(messages) == 1
    assert "(exit -9)" in messages[0] and "retrying 2 tasks" in messages[0]
    assert scheduler.next_task(other) is None
    scheduler.handle(other, WorkerEvent.RETURNED, 2)
    assert scheduler.next_task(other).key == 0
    assert other.retries_single_task
    assert scheduler.next_task(other) is None
    scheduler.handle(other, WorkerEvent.FINISHED, 0, "result")
    scheduler.handle(other, WorkerEvent.IDLE)
    assert scheduler.next_task(other).key == 1


def test_workers_that_die_before_their_first_message_stop_the_work():
    scheduler, _, _ = make_scheduler(1)
    for _ in range(MAX_FAILED_STARTS - 1):
        scheduler.requeue(WorkerTasks(), "exit 1", "do that")
    with pytest.raises(WaveNetError, match=r"\(exit 1\); do that"):
        scheduler.requeue(WorkerTasks(), "exit 1", "do that")


def run_pool(queue, target, *arguments, workers=2, progress=None):
    """Run processes over a queue; check that no process remains."""
    scheduler = TaskScheduler(queue, progress or NoProgress())
    try:
        context = multiprocessing.get_context("spawn")
        WorkerPool(scheduler, context, target, arguments).run(workers)
    finally:
        assert multiprocessing.active_children() == []


def serve_squares(pipe, deadly=None, together=1):
    """Square numbers, several at a time; die at one of them."""

    def work(connection):
        while tasks := list(filter(None, (connection.next_task() for _ in range(together)))):
            for task in tasks:
                connection.update_task(task, "started")
                if task.key == deadly:
                    os.kill(os.getpid(), signal.SIGKILL)
            for task in tasks:
                connection.finish_task(task, task.key**2)
                connection.advance(0.5)

    run_worker(pipe, work)


def test_all_results_arrive_once_although_a_task_kills_its_workers():
    queue, amounts = NumberQueue(9), []
    progress = CallbackProgress(amounts.append, lambda text: None)
    run_pool(queue, serve_squares, 4, 3, progress=progress)
    assert queue.results == {n: n**2 for n in range(9) if n != 4}
    assert queue.given_up == {4: 2}
    assert queue.states.count((4, "started")) >= 3
    assert sum(amounts) == 4.0


def serve_nothing(pipe):
    os._exit(7)


def test_workers_that_cannot_start_are_not_replaced_for_ever():
    with pytest.raises(WaveNetError, match=r"exit 7.*--workers 1"):
        run_pool(NumberQueue(3), serve_nothing)


def serve_an_error(pipe):
    def work(connection):
        connection.next_task()
        raise WaveNetError("the disk is full")

    run_worker(pipe, work)


def test_an_error_of_a_worker_stops_the_pool():
    with pytest.raises(WaveNetError, match="the disk is full"):
        run_pool(NumberQueue(3), serve_an_error)
