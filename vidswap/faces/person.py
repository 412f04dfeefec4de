"""Which pixels of a picture show a person, hair and clothes included: the selfie net."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.faces.nets.loading import load_selfie_segmentation
from vidswap.faces.nets.selfie_segmentation import INPUT_SIZE


class PersonFinder:
    """Finds the person of a picture."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._net = load_selfie_segmentation(self._device)

    def mask(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How surely each pixel of a picture (H, W, 3) shows a person, (H, W) in [0, 1]."""
        height, width = rgb.shape[:2]
        square = (INPUT_SIZE, INPUT_SIZE)
        small = cv2.resize(rgb, square, interpolation=cv2.INTER_AREA)
        given = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].to(self._device)
        with torch.inference_mode():
            found = self._net(given.float() / 255.0)[0, 0].cpu().numpy()
        sure = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(np.asarray(sure, np.float32), 0.0, 1.0)
