"""How many cores the nets take beside the other stages."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import numba
import pytest
import torch

from vidswap.nets import cores, half_the_cores, one_core


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("share", [one_core, half_the_cores])
def test_of_two_cores_torch_and_numba_take_one_and_then_what_they_had(
    share: Callable[[], AbstractContextManager[None]],
) -> None:
    before = torch.get_num_threads(), numba.get_num_threads()
    with share():
        assert (torch.get_num_threads(), numba.get_num_threads()) == (1, 1)
    assert (torch.get_num_threads(), numba.get_num_threads()) == before


def test_more_cores_than_there_were_are_not_taken() -> None:
    with cores(64):
        assert torch.get_num_threads() == 2


def test_an_error_gives_them_back() -> None:
    with pytest.raises(ValueError, match="inside"), one_core():
        raise ValueError("inside")
    assert torch.get_num_threads() == 2
