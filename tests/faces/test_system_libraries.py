from __future__ import annotations

import pytest

from vidswap.errors import MissingLibraryError
from vidswap.faces.system_libraries import SYSTEM_LIBRARIES, check_system_libraries


def test_nothing_is_said_when_all_libraries_load():
    assert check_system_libraries({"libc.so.6": "libc6"}) is None


def test_missing_libraries_are_named_with_their_packages(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    libraries = {"libc.so.6": "libc6", "libnowhere.so.1": "libnowhere1", "liba.so.9": "liba9"}
    with pytest.raises(MissingLibraryError) as raised:
        check_system_libraries(libraries)
    message = str(raised.value)
    assert "libnowhere.so.1" in message and "apt-get install liba9 libnowhere1" in message
    assert "libc6" not in message and "\n" not in message


def test_the_debian_packages_of_opencv_are_known():
    assert set(SYSTEM_LIBRARIES.values()) == {"libgl1", "libglib2.0-0"}
