"""Thread pools do not survive a fork: a swap in a forked child would wait for them forever."""

from __future__ import annotations

import os

from vidswap.errors import ForkedProcessError

# The process whose nets have run; a forked child inherits the note, a spawned one does not.
_USED_IN: list[int] = []


def nets_run_here() -> None:
    """Note that this process has nets and their threads.

    Raises ForkedProcessError in a child that was forked after its parent had.
    """
    if _USED_IN and _USED_IN[0] != os.getpid():
        raise ForkedProcessError(
            "this process was forked from one that had already swapped, and has lost its threads; "
            "start it with spawn: multiprocessing.get_context('spawn')"
        )
    _USED_IN[:] = [os.getpid()]
