"""The probe for glasses on the id features of photographs."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from tests.photographs import astronaut, grace_hopper
from vidswap.faces.align import align_face, face_affine
from vidswap.faces.mediapipe_detector import MediapipeDetector, MediapipeLandmarks
from vidswap.identity.encoder import IdentityEncoder
from vidswap.identity.eyewear import eyewear_logits, wears_glasses


def with_glasses(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    worn = picture.copy()
    corners = np.rint(landmarks[[33, 133, 362, 263]] * 16.0).astype(int)
    for one, other in (corners[:2], corners[2:]):
        centre, radius = (one + other) // 2, int(0.75 * np.linalg.norm(other - one))
        cv2.circle(worn, centre.tolist(), radius, (15, 15, 15), 4, cv2.LINE_AA, 4)
    cv2.line(worn, corners[1].tolist(), corners[2].tolist(), (15, 15, 15), 4, cv2.LINE_AA, 4)
    return worn


def test_photographs_with_glasses_worn_or_drawn_are_told_from_one_without() -> None:
    encoder = IdentityEncoder()
    detector, landmarks = MediapipeDetector(), MediapipeLandmarks()
    for picture, worn_already in ((astronaut(), False), (grace_hopper(), True)):
        (detection, *_) = detector.detect(picture)
        face = landmarks.landmarks(picture, detection)
        assert face is not None
        worn = with_glasses(picture, face.landmarks)
        crops = np.stack([align_face(p, face_affine(face.landmarks)) for p in (picture, worn)])
        tensor = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        with torch.inference_mode():
            identity = encoder(tensor)
        logits = eyewear_logits(identity)
        assert float(logits[1] - logits[0]) > 1.0
        assert wears_glasses(identity).tolist() == [worn_already, True]
    detector.close()
    landmarks.close()
