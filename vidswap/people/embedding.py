"""Faces of a picture and their id embeddings, by which people are distinguished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.faces.align import align_face, face_affine
from vidswap.faces.detection import Face, FaceDetector, LandmarkFinder, find_landmarks
from vidswap.faces.pose import head_pose
from vidswap.faces.quality import MIN_SHARPNESS, sharpness
from vidswap.identity.encoder import IdEmbedding, IdentityEncoder
from vidswap.nets import DetectorName, load_detector, one_core

# A face smaller than this share of the largest is a bystander, not a second candidate.
BYSTANDER_SHARE = 0.5
TURNED = (40.0, 30.0)  # degrees of yaw and pitch at which an embedding counts half
SMALL_FACE = 40.0  # pixels below which it counts less


class FaceNets(Protocol):
    """What finds and embeds faces: the nets of a job, or an embedder."""

    @property
    def detector(self) -> FaceDetector: ...
    @property
    def landmark_finder(self) -> LandmarkFinder: ...
    @property
    def encoder(self) -> IdentityEncoder: ...


class FaceEmbedder:
    """Finds the faces of pictures and embeds them.

    Pictures are (H, W, 3) uint8 RGB. People are compared by Euclidean distance of their embeddings
    (128,); `SAME_PERSON_DISTANCE` is the threshold for one person.
    """

    def __init__(
        self, detector: FaceDetector, landmark_finder: LandmarkFinder, encoder: IdentityEncoder
    ) -> None:
        self.detector, self.landmark_finder, self.encoder = detector, landmark_finder, encoder

    @classmethod
    def load(cls, detector: DetectorName = "blazeface") -> Self:
        """With nets of its own, on the CPU; `close` frees them."""
        return cls(*load_detector(detector), IdentityEncoder())

    @classmethod
    def of(cls, nets: FaceNets) -> Self:
        """With the nets of a job, which the job closes."""
        return cls(nets.detector, nets.landmark_finder, nets.encoder)

    def close(self) -> None:
        """Free the detector's native graphs."""
        self.detector.close()
        self.landmark_finder.close()

    def faces(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """All faces of a picture, the largest first."""
        return find_faces(rgb, self.detector, self.landmark_finder)

    def embed(self, rgb: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.uint8], IdEmbedding]:
        """The aligned crop of a face and its id embedding."""
        return self.embed_mesh(rgb, face.landmarks)

    def embed_mesh(
        self, rgb: NDArray[np.uint8], landmarks: NDArray[np.floating]
    ) -> tuple[NDArray[np.uint8], IdEmbedding]:
        """As `embed`, for a mesh (478, 2) that may be smoothed."""
        crop = align_face(rgb, face_affine(landmarks))
        return crop, embed_crop(self.encoder, crop)

    def distance(
        self,
        rgb: NDArray[np.uint8],
        landmarks: NDArray[np.floating],
        person: NDArray[np.float32],
    ) -> float:
        """Distance of the face with this mesh (478, 2) to a person's embedding (128,)."""
        return float(np.linalg.norm(as_array(self.embed_mesh(rgb, landmarks)[1]) - person))

    def nearest(
        self,
        rgb: NDArray[np.uint8],
        faces: Sequence[Face],
        person: NDArray[np.float32],
        below: float = float("inf"),
    ) -> Face | None:
        """The face nearest to a person's embedding (128,); None if none is nearer than `below`."""
        found = [(self.distance(rgb, face.landmarks, person), i) for i, face in enumerate(faces)]
        distance, at = min(found, default=(below, -1))
        return faces[at] if distance < below else None


class FaceSampler:
    """Embeds faces for a tracker, each alone and on one core: the answer is always the same.

    The weight falls where a face is turned, small or blurred: then it shows little of who it is.
    """

    def __init__(self, encoder: IdentityEncoder) -> None:
        self._encoder = encoder

    def sample(self, rgb: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.float32], float]:
        """The id embedding (128,) of a face in `rgb` (H, W, 3) RGB, and its weight, 0 to 1."""
        crop = align_face(rgb, face_affine(face.landmarks))
        with one_core():
            embedding = as_array(embed_crop(self._encoder, crop))
        return embedding, sample_weight(crop, face)


def sample_weight(crop: NDArray[np.uint8], face: Face) -> float:
    """How far the embedding of an aligned crop (256, 256, 3) can be trusted, 0 to 1."""
    pose = head_pose(face.landmarks)
    turned = max(abs(pose.yaw) / TURNED[0], abs(pose.pitch) / TURNED[1])
    parts = (1.5 - turned, sharpness(crop) / MIN_SHARPNESS, face_size(face) / SMALL_FACE)
    return float(np.prod([np.clip(part, 0.1, 1.0) for part in parts]))


def find_faces(
    rgb: NDArray[np.uint8], detector: FaceDetector, landmark_finder: LandmarkFinder
) -> list[Face]:
    """All faces of a picture (H, W, 3) uint8 RGB, the largest first."""
    found = find_landmarks(
        landmark_finder, [(rgb, detection) for detection in detector.detect(rgb)]
    )
    return sorted((face for face in found if face is not None), key=face_size, reverse=True)


def without_bystanders(faces: Sequence[Face]) -> list[Face]:
    """Of faces sorted by size, the largest and those at least `BYSTANDER_SHARE` of its size."""
    return [f for f in faces if face_size(f) >= BYSTANDER_SHARE * face_size(faces[0])]


def face_size(face: Face) -> float:
    """The longer side of the box around a face, in pixels."""
    left, top, right, bottom = face.box
    return float(max(right - left, bottom - top))


def embed_crop(encoder: IdentityEncoder, crop: NDArray[np.uint8]) -> IdEmbedding:
    """The id embedding, a batch of one, of an aligned crop (256, 256, 3) uint8 RGB."""
    return embed_crops(encoder, [crop])


def embed_crops(encoder: IdentityEncoder, crops: Sequence[NDArray[np.uint8]]) -> IdEmbedding:
    """The id embeddings, one row per crop, of aligned crops (256, 256, 3) uint8 RGB."""
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        identity: IdEmbedding = encoder(crops_to_tensor(crops, device))
    return identity


def crops_to_tensor(
    crops: Sequence[NDArray[np.uint8]], device: torch.device | None = None
) -> torch.Tensor:
    """Crops (S, S, 3) uint8 as the nets take them: (B, 3, S, S) float in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(crops)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def as_array(identity: IdEmbedding) -> NDArray[np.float32]:
    """The embedding (128,) of the first row, in which faces are compared."""
    array: NDArray[np.float32] = identity.embedding[0].cpu().numpy()
    return array
