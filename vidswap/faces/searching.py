"""A detector that looks twice more where it is not sure: at a padded picture, and upside down.

Detectors are trained on upright heads with room around them. An extreme close-up, from the eyes to
the mouth, fills the frame, a face that enters is cut by its edge, and a phone may have been held
upside down.
"""

from __future__ import annotations

import cv2
import numpy as np

from vidswap.faces.detection import Detection, FaceDetector, Image, box_overlap

PADDING = 0.5  # of the longer side, added on all four
SURE = 0.75  # score that an upright face hardly ever falls short of
SAME_FACE = 0.3  # intersection over union from which two detections are one face


class SearchingDetector:
    """Another detector, asked again about changed pictures where it is sure of no face."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def detect(self, rgb: Image) -> list[Detection]:
        """Faces in `rgb` (H, W, 3) uint8, the best score first; an empty list if there is none."""
        found = self._detector.detect(rgb)
        if any(detection.score >= SURE for detection in found):
            return found
        found = [*found, *self._padded(rgb), *self._upside_down(rgb)]
        kept: list[Detection] = []
        for detection in sorted(found, key=lambda each: -each.score):
            if all(box_overlap(detection.box, other.box) < SAME_FACE for other in kept):
                kept.append(detection)
        return kept

    def close(self) -> None:
        """Free the net."""
        self._detector.close()

    def _padded(self, rgb: Image) -> list[Detection]:
        pad = round(PADDING * max(rgb.shape[:2]))
        wide = cv2.copyMakeBorder(rgb, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        return [
            Detection(found.box - np.float32(pad), found.keypoints - np.float32(pad), found.score)
            for found in self._detector.detect(np.asarray(wide, np.uint8))
        ]

    def _upside_down(self, rgb: Image) -> list[Detection]:
        turned = np.ascontiguousarray(rgb[::-1, ::-1])
        last = np.array([rgb.shape[1] - 1, rgb.shape[0] - 1], np.float32)
        return [
            Detection(
                np.concatenate([last - found.box[2:], last - found.box[:2]]),
                last - found.keypoints,
                found.score,
            )
            for found in self._detector.detect(turned)
        ]
