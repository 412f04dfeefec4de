"""Values that cost something to make, kept while they are likely to be asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """The last few values that were made, by what they were made of."""

    def __init__(self, most: int = 8) -> None:
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._most = most

    def peek(self, key: Hashable) -> Any:
        """The value kept under `key`, or None."""
        return self._values.get(key)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value kept under `key`, or the one that `make` returns."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        value: T = self._values[key]
        return value
