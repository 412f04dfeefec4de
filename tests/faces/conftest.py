"""The nets, loaded once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vidswap.faces.mediapipe_detector import MediapipeDetector, MediapipeLandmarks


@pytest.fixture(scope="package")
def detector() -> Iterator[MediapipeDetector]:
    net = MediapipeDetector()
    yield net
    net.close()


@pytest.fixture(scope="package")
def finder() -> Iterator[MediapipeLandmarks]:
    net = MediapipeLandmarks()
    yield net
    net.close()
