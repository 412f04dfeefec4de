"""No test touches the user's own data folder, where the signing key lies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# As in the command line: pools that spin while they wait starve each other on few cores. Must be
# set before the first import of torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

from vidswap.runtime.process import kept_scheduling

pytest_plugins = ["tests.swap_fixtures"]

# Files that take long, first: in the end they would keep one process waiting for the other.
LONG = ("test_package.py", "test_resume.py", "test_trainer.py", "test_plan.py", "test_bad_input.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder (XDG_DATA_HOME) for the whole session, also for programs that tests start."""
    before = os.environ.get("XDG_DATA_HOME")
    folder = tmp_path_factory.mktemp("data_home")
    os.environ["XDG_DATA_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_DATA_HOME"]
    else:
        os.environ["XDG_DATA_HOME"] = before


@pytest.fixture(autouse=True)
def scheduling() -> Iterator[None]:
    """An encoder that a test opens by itself does not make the tests after it real-time ones."""
    with kept_scheduling():
        yield


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> Iterator[None]:
    """SIGINT as at a terminal: a shell has it ignored by what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
