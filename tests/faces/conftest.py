"""The nets, loaded once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector


@pytest.fixture(scope="package")
def detector() -> Iterator[BlazeFaceDetector]:
    net = BlazeFaceDetector()
    yield net
    net.close()


@pytest.fixture(scope="package")
def finder() -> Iterator[AttentionMeshFinder]:
    net = AttentionMeshFinder()
    yield net
    net.close()
