import threading
import time
from collections.abc import Iterator

import pytest

from vidswap.runtime.overlap import Overlapped


def test_order_is_kept() -> None:
    with Overlapped(range(100), depth=3, name="test") as items:
        assert list(items) == list(range(100))


def test_the_thread_stays_at_most_depth_ahead() -> None:
    taken = []

    def counting() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    with Overlapped(counting(), depth=2, name="test") as items:
        iterator = iter(items)
        next(iterator)
        time.sleep(0.3)
        # One given, two queued, one waiting for room in the queue.
        assert len(taken) <= 4


def test_an_error_is_raised_at_its_place() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("broke off")

    seen = []
    with (
        Overlapped(failing(), depth=4, name="test") as items,
        pytest.raises(OSError, match="broke"),
    ):
        for item in items:
            seen.append(item)
    assert seen == [1, 2]


def test_closing_early_stops_the_thread_and_the_stages_before_it() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with Overlapped(endless(), depth=1, name="test") as items:
        next(iter(items))
    assert closed.wait(5)
    assert not any(t.name == "vidswap-test" for t in threading.enumerate())
