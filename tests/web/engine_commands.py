"""Commands for the tests of `vidswap.web.engine`, in a module that its process imports."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from vidswap.errors import JobCancelledError, OutputExistsError
from vidswap.web.engine import Commands, Listen
from vidswap.web.roots import OutsideError


def commands(say: Listen, is_cancelled: Callable[[], bool]) -> Commands:
    kept: list[object] = []

    def keep(value: object) -> tuple[int, list[object]]:
        kept.append(value)
        return os.getpid(), kept

    def count(most: int) -> int:
        for n in range(most):
            say({"n": n})
            if is_cancelled():
                raise JobCancelledError(f"cancelled at {n}")
            time.sleep(0.01)
        return most

    def refuse() -> None:
        raise OutputExistsError("a.mp4 exists;\n name another")

    def outside() -> None:
        raise OutsideError("/etc is outside")

    def fault() -> None:
        raise ZeroDivisionError("a slip")

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def leave() -> None:
        os._exit(3)

    def hang() -> None:
        time.sleep(600)

    return {
        "keep": keep, "count": count, "refuse": refuse, "outside": outside, "fault": fault,
        "die": die, "leave": leave, "hang": hang,
    }  # fmt: skip
