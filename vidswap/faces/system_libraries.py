"""The system libraries that OpenCV and mediapipe load, checked before they fail obscurely."""

import ctypes
import sys

from vidswap.errors import MissingLibraryError

# Shared object -> the Debian package that brings it.
SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
}


def check_system_libraries(libraries: dict[str, str] = SYSTEM_LIBRARIES) -> None:
    """Raise MissingLibraryError, naming the Debian packages, if a needed library is not there.

    Only Linux wheels lean on these; elsewhere there is nothing to check.
    """
    if not sys.platform.startswith("linux"):
        return
    missing = [name for name in libraries if not _loads(name)]
    if missing:
        packages = " ".join(sorted({libraries[name] for name in missing}))
        raise MissingLibraryError(
            f"OpenCV needs the system library {', '.join(missing)}, which is not installed; "
            f"on Debian or Ubuntu: apt-get install {packages}"
        )


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
