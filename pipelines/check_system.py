"""Say in one line what the machine lacks, before anything is downloaded.

`python3 -m pipelines.check_system`, from the project's folder, needs nothing but the standard
library and runs on any Python 3. It exits with 1 after its line, with 0 and silence if all is well.
"""

import importlib.util
import sys

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))


def complaint() -> str:
    """What is missing and how to get it, empty if nothing is."""
    version = "{}.{}".format(*sys.version_info)
    if sys.version_info[:2] not in PYTHONS:
        return (
            f"Python 3.11 to 3.14 is required and {sys.executable} is {version}; "
            "install one, or name it: make PYTHON=/path/to/python3.14"
        )
    if importlib.util.find_spec("ensurepip") is None:
        return (
            f"Python's venv module is incomplete; on Debian: apt-get install python{version}-venv"
        )
    return ""


if __name__ == "__main__":
    line = complaint()
    if line:
        sys.exit(f"vidswap: {line}")
