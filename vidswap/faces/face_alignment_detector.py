"""`--detector face-alignment`: S3FD and FAN, the nets that the AP-GAN paper names (IV.A).

S3FD (Zhang et al., 2017) finds boxes and FAN (Bulat and Tzimiropoulos, 2017) 68 points, from the
package face-alignment; `points68` turns those into the mesh. The package downloads its weights on
first use. On a CPU both take much longer than the default detector.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vidswap.errors import MissingLibraryError, MissingWeightsError
from vidswap.faces.detection import Detection, Face, Image
from vidswap.faces.points68 import mesh_from_68
from vidswap.faces.system_libraries import check_system_libraries

SEARCHED_SIDE = 640  # pixels; S3FD sees the frame with its long side shrunk to this
MIN_POINT_SCORE = 0.2  # mean height of FAN's heat maps below which there is no face
DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer

# Where S3FD's box has the eyes, in parts of its width and height.
_EYES_IN_BOX = np.array([[0.3, 0.4], [0.7, 0.4]])


def load_face_alignment(
    device: str = "cpu",
) -> tuple["FaceAlignmentDetector", "FaceAlignmentLandmarks"]:
    """The detector and the landmark finder, sharing one copy of the nets.

    Raises MissingWeightsError, naming the files and the folder they belong in, where the weights
    are absent and cannot be downloaded.
    """
    nets = _load_nets(device)
    return FaceAlignmentDetector(nets), FaceAlignmentLandmarks(nets)


class FaceAlignmentDetector:
    """S3FD."""

    def __init__(self, nets: Any) -> None:
        self._nets = nets

    def detect(self, rgb: Image) -> list[Detection]:
        """Faces in `rgb` (H, W, 3) uint8, the best score first; an empty list if there is none."""
        scale = max(1.0, max(rgb.shape[:2]) / SEARCHED_SIDE)
        size = (round(rgb.shape[1] / scale), round(rgb.shape[0] / scale))
        small = rgb if scale == 1.0 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        boxes = self._nets.face_detector.detect_from_image(small)
        found = [_detection(np.asarray(box, np.float64), scale) for box in boxes]
        return sorted(found, key=lambda detection: detection.score, reverse=True)

    def close(self) -> None:
        """Let go of the nets."""
        self._nets = None


class FaceAlignmentLandmarks:
    """FAN, its 68 points extended to the mesh."""

    def __init__(self, nets: Any) -> None:
        self._nets = nets

    def landmarks(self, rgb: Image, region: Detection | Face) -> Face | None:
        """The face near `region` in `rgb` (H, W, 3) uint8, or None if there is none."""
        # Plain numbers: the package cannot put numpy's float32 into its tensors.
        points, scores, _ = self._nets.get_landmarks_from_image(
            rgb, detected_faces=[region.box.tolist()], return_landmark_score=True
        )
        score = float(np.clip(np.mean(np.asarray(scores[0])), 0.0, 1.0))
        if score < MIN_POINT_SCORE:
            return None
        landmarks, depth = mesh_from_68(np.asarray(points[0]))
        return Face(landmarks, depth, score)

    def close(self) -> None:
        """Let go of the nets."""
        self._nets = None


def _detection(box: np.ndarray[Any, np.dtype[np.float64]], scale: float) -> Detection:
    """A row (left, top, right, bottom, score) of S3FD in the frame's own pixels."""
    corners = (box[:4].reshape(2, 2) + 0.5) * scale - 0.5
    eyes = corners[0] + _EYES_IN_BOX * (corners[1] - corners[0])
    return Detection(
        box=corners.reshape(4).astype(np.float32),
        keypoints=eyes.astype(np.float32),
        score=float(min(box[4], 1.0)),
    )


def _load_nets(device: str) -> Any:
    check_system_libraries()
    try:
        import face_alignment
        from face_alignment.api import models_urls as fan_urls
        from face_alignment.detection.sfd.sfd_detector import models_urls as s3fd_urls
    except ImportError as error:
        raise MissingLibraryError(
            f"--detector face-alignment: cannot be imported ({error}); "
            "pip install face-alignment==1.5.0"
        ) from error
    fetch_weights([s3fd_urls["s3fd"], fan_urls["2DFAN-4"]])
    return face_alignment.FaceAlignment(
        face_alignment.LandmarksType.TWO_D, device=device, flip_input=False, compile=False
    )


def fetch_weights(urls: list[str]) -> None:
    """Download what is not yet in torch hub's checkpoints folder; MissingWeightsError if it fails.

    A file name ends in the beginning of its SHA-256, which is checked.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    missing = [url for url in urls if not (folder / url.rsplit("/", 1)[1]).exists()]
    for url in missing:
        name = url.rsplit("/", 1)[1]
        digest = name.split(".", 1)[0].rsplit("-", 1)[1]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _socket_timeout(DOWNLOAD_TIMEOUT):
                torch.hub.download_url_to_file(url, str(folder / name), hash_prefix=digest)
        except (OSError, RuntimeError) as error:
            names = ", ".join(u.rsplit("/", 1)[1] for u in missing)
            raise MissingWeightsError(
                f"--detector face-alignment: cannot download {name} ({error}); put {names} from "
                f"{url.rsplit('/', 1)[0]} into {folder}, or use --detector blazeface"
            ) from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Give up on a silent network; torch's download has no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
