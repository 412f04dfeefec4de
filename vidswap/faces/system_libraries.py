"""The system libraries that OpenCV's windows need, checked before the import fails obscurely.

OpenCV's usual build links a window toolkit, and with it libGL and GLib, which servers and
containers often lack. vidswap opens no window, so the headless build of the same version will do.
"""

import ctypes
import importlib.metadata
import sys

from vidswap.errors import MissingLibraryError

# Shared object -> the Debian package that brings it.
SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
_WITH_WINDOWS = "opencv-python"
_WITHOUT_WINDOWS = "opencv-python-headless"


def check_system_libraries(libraries: dict[str, str] = SYSTEM_LIBRARIES) -> None:
    """Raise MissingLibraryError, naming both remedies, if OpenCV lacks a system library.

    Only Linux wheels lean on these; elsewhere, and with the headless build, nothing is missing.
    """
    if not sys.platform.startswith("linux"):
        return
    missing = [name for name in libraries if not _loads(name)]
    if missing and not opencv_loads():
        packages = " ".join(sorted({libraries[name] for name in missing}))
        raise MissingLibraryError(
            f"OpenCV needs the system library {', '.join(missing)}, which is not installed; "
            f"on Debian or Ubuntu: apt-get install {packages}; or, without root: pip install "
            f"--force-reinstall --no-deps {headless_requirement()}"
        )


def opencv_loads() -> bool:
    """Whether `import cv2` works; a build without windows needs none of the libraries above."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True


def headless_requirement() -> str:
    """The headless build of the OpenCV installed here, as pip takes it."""
    try:
        return f"{_WITHOUT_WINDOWS}=={importlib.metadata.version(_WITH_WINDOWS)}"
    except importlib.metadata.PackageNotFoundError:
        return _WITHOUT_WINDOWS


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
