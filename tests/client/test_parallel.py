"""Several tasks at once, and one that fails."""

from __future__ import annotations

import threading

import pytest

from artifactstore.client.parallel import StoppedError, Tasks


def test_every_task_is_run_and_no_more_than_so_many_at_once():
    running, most, done, lock = [0], [0], [], threading.Lock()

    def task(number: int):
        def work() -> None:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            threading.Event().wait(0.005)
            with lock:
                running[0] -= 1
                done.append(number)

        return work

    Tasks(3).run([task(number) for number in range(20)])

    assert sorted(done) == list(range(20))
    assert 1 < most[0] <= 3


def test_a_failure_is_raised_and_stops_what_is_under_way_and_what_is_to_come():
    tasks, began, stopped = Tasks(2), threading.Event(), []

    def long() -> None:
        began.set()
        try:
            while True:
                tasks.go_on()
        except StoppedError:
            stopped.append("under way")
            raise

    def fail() -> None:
        began.wait()
        raise KeyError("the reason")

    with pytest.raises(KeyError, match="the reason"):
        tasks.run([long, fail, lambda: stopped.append("to come")])

    assert stopped == ["under way"]


def test_one_task_is_run_here():
    here = []

    Tasks(4).run([lambda: here.append(threading.current_thread())])

    assert here == [threading.current_thread()]
