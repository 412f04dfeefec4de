"""Which pixels of a picture show a person, hair and clothes included: MediaPipe's selfie net."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.mediapipe_graphs import start_solution

_GRAPH = "mediapipe/modules/selfie_segmentation/selfie_segmentation_cpu.binarypb"
_SIZE = 256  # pixels, side of the net's input


class PersonFinder:
    """Finds the person of a picture; `close` frees the net."""

    def __init__(self) -> None:
        self._graph: Any = start_solution(_GRAPH, ["segmentation_mask"], _SIZE)

    def mask(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How surely each pixel of a picture (H, W, 3) shows a person, (H, W) in [0, 1]."""
        found = self._graph.process(np.ascontiguousarray(rgb)).segmentation_mask
        return np.clip(np.asarray(found, np.float32), 0.0, 1.0)

    def close(self) -> None:
        """Free the net."""
        self._graph.close()
