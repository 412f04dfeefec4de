"""Write mediapipe's answers for the tests' pictures, which our nets are compared with.

    pip install mediapipe==0.10.9
    python -m pipelines.benchmarks.mediapipe_answers

writes `tests/faces/mediapipe_answers.npz`: for each picture its boxes, keypoints and scores, the
landmarks (478, 3) of the first face, found from its box and again from where it was found, and a
small mask of the person.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.benchmarks.mediapipe_graphs import MediapipeDetector, MediapipeFinder, person_mask
from tests.photographs import astronaut, grace_hopper
from vidswap.faces.detection import Face

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = ROOT / "tests" / "faces" / "mediapipe_answers.npz"
MASK_SIZE = 32


def pictures() -> dict[str, NDArray[np.uint8]]:
    """The tests' pictures (H, W, 3) RGB by name: public-domain photographs, portraits of nobody."""
    found = {"collins": astronaut(), "hopper": grace_hopper()}
    for path in sorted((ROOT / "vidswap" / "animation" / "portraits").glob("*.jpg")):
        found[path.stem] = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
    return found


def small_mask(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mask (256, 256) averaged down."""
    small = cv2.resize(mask, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def main() -> None:
    detector, finder = MediapipeDetector(), MediapipeFinder()
    answers: dict[str, NDArray[np.generic]] = {}
    for name, rgb in pictures().items():
        detections = detector.detect(rgb)
        first = finder.landmarks(rgb, detections[0])
        assert first is not None
        again = finder.landmarks(rgb, first)
        assert again is not None
        answers |= {
            f"{name}/boxes": np.stack([found.box for found in detections]),
            f"{name}/keypoints": np.stack([found.keypoints for found in detections]),
            f"{name}/scores": np.array([found.score for found in detections]),
            f"{name}/landmarks": _points(first),
            f"{name}/landmarks_again": _points(again),
            f"{name}/presence": np.array([first.score, again.score]),
            f"{name}/mask": small_mask(person_mask(rgb)).astype(np.float16),
        }
    np.savez_compressed(ANSWERS, **answers)
    print(f"{ANSWERS}: {len(answers)} arrays, {ANSWERS.stat().st_size:,} bytes")


def _points(face: Face) -> NDArray[np.float32]:
    assert face.landmarks_z is not None
    return np.column_stack([face.landmarks, face.landmarks_z]).astype(np.float32)


if __name__ == "__main__":
    main()
