from __future__ import annotations

import importlib.metadata

import pytest

from vidswap.errors import MissingLibraryError
from vidswap.faces import system_libraries
from vidswap.faces.system_libraries import SYSTEM_LIBRARIES, check_system_libraries

OPENCV = "opencv-python"


def test_nothing_is_said_when_all_libraries_load():
    assert check_system_libraries({"libc.so.6": "libc6"}) is None


def test_missing_libraries_are_named_with_their_packages(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(system_libraries, "opencv_loads", lambda: False)
    libraries = {"libc.so.6": "libc6", "libnowhere.so.1": "libnowhere1", "liba.so.9": "liba9"}
    with pytest.raises(MissingLibraryError) as raised:
        check_system_libraries(libraries)
    message = str(raised.value)
    assert "libnowhere.so.1" in message and "apt-get install liba9 libnowhere1" in message
    assert "libc6" not in message and "\n" not in message
    headless = f"opencv-python-headless=={importlib.metadata.version(OPENCV)}"
    assert message.endswith(f"pip install --force-reinstall --no-deps {headless}")


def test_an_opencv_that_loads_without_them_is_enough(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(system_libraries, "opencv_loads", lambda: True)
    assert check_system_libraries({"libnowhere.so.1": "libnowhere1"}) is None


def test_the_debian_packages_of_opencv_are_known():
    assert set(SYSTEM_LIBRARIES.values()) == {"libgl1", "libglib2.0-0"}
