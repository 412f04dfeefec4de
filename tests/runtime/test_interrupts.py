"""SIGINT while stages are set up."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from vidswap.runtime.interrupts import interrupts_put_off


def test_an_interrupt_comes_after_the_block_and_is_not_lost() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_put_off():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the rest of the block")
    assert done == ["the rest of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_is_kept_and_the_handler_given_back() -> None:
    with pytest.raises(ValueError, match="own"), interrupts_put_off():
        raise ValueError("own")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_is_left_as_it_is() -> None:
    seen = []

    def block() -> None:
        with interrupts_put_off():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
