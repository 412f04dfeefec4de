"""The two public-domain photographs that come inside packages the tests install."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray


def grace_hopper_path() -> Path:
    pytest.importorskip("matplotlib")
    return Path(str(files("matplotlib"))) / "mpl-data" / "sample_data" / "grace_hopper.jpg"


def grace_hopper() -> NDArray[np.uint8]:
    """Rear Admiral Grace Hopper, US Navy photograph, (606, 512, 3) RGB."""
    return cv2.imread(str(grace_hopper_path()))[:, :, ::-1].copy()


def astronaut() -> NDArray[np.uint8]:
    """Eileen Collins, NASA photograph, (512, 512, 3) RGB."""
    data = pytest.importorskip("skimage.data")
    return data.astronaut()
