"""Pictures are computed in threads of low priority."""

import os
import sys
import threading

import pytest

from wavenet.ui.server.low_priority import NICENESS, run_with_low_priority


def own_niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority per thread")
def test_only_the_other_thread_has_a_low_priority():
    before = own_niceness()
    assert run_with_low_priority(own_niceness) >= max(before, NICENESS)
    assert own_niceness() == before < NICENESS


def test_the_result_and_an_error_are_those_of_the_function():
    assert run_with_low_priority(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run_with_low_priority(lambda: 1 // 0)
