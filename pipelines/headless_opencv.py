"""Make `import cv2` work on a machine without libGL, as servers and containers are.

`.venv/bin/python -m pipelines.headless_opencv` does nothing where OpenCV loads. Where it does not,
for want of a library that only windows need, the headless build of the same version is laid over
it: no root and no apt. `make demo` and `make test` run it after installing.
"""

import subprocess
import sys

from vidswap.errors import MissingLibraryError
from vidswap.faces.system_libraries import check_system_libraries, headless_requirement

INSTALL = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet")


def complaint() -> str:
    """What is still missing after the remedy, empty if nothing is."""
    try:
        check_system_libraries()
    except MissingLibraryError as error:
        print(f"{error}".partition(";")[0] + "; installing its headless build", file=sys.stderr)
    else:
        return ""
    wanted = [*INSTALL, "--force-reinstall", "--no-deps", headless_requirement()]
    subprocess.run([sys.executable, *wanted], check=False)
    # In a new process: a module whose import failed half-way is not imported afresh in this one.
    check = "from vidswap.faces.system_libraries import check_system_libraries as c; c()"
    again = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    return again.stderr.strip().rpartition("MissingLibraryError: ")[2] if again.returncode else ""


if __name__ == "__main__":
    line = complaint()
    if line:
        sys.exit(f"vidswap: {line}")
