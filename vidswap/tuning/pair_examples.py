"""Examples for tuning a generator to one pair of people.

Three kinds of examples, the first two with a true answer:

- back: a frame of the source in which the target's face lies over the source's, warped to its mesh;
  the answer is the frame itself;
- own: a frame of the source with its face warped, so that shapes are drawn and not copied;
- across: a frame of the target. What is around the face must come back, and so must its eyes and
  mouth; for the rest the answer is the source's face warped onto it, in the target's light, which
  is near to the truth but not it.

A generator that is shown a photograph of the source gets it warped onto every example, as in a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidswap.blending.fields import displaced
from vidswap.blending.mask import face_mask, sixteenths
from vidswap.blending.warping import (
    SIZE,
    FaceCrop,
    Picture,
    Points,
    face_colours,
    reference_view,
    warped_onto,
    with_inexact_mesh,
)
from vidswap.faces import mesh
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.pose import canonical_mesh
from vidswap.models.face_net import reference_tensor
from vidswap.training.keep import keep_map
from vidswap.training.pair_batch import PairConfig

# Hair hangs over brow and temples: there the answer on a target's frame is the frame itself.
INNER_REACH = 0.85


@dataclass(frozen=True)
class ExampleConfig:
    """How examples are drawn and augmented. Angles in degrees, shifts in pixels of the crop."""

    back: int = 3  # examples of each kind in a batch
    own: int = 1
    across: int = 2
    warp: float = 5.0  # pixels by which a face's inside is warped
    rotation: float = 6.0
    scale: float = 0.06
    shift: float = 5.0
    brightness: float = 0.15
    target_colour: float = 0.7  # how far the answers on the target take on its skin's colour
    keep: PairConfig = field(
        default_factory=lambda: PairConfig(size=SIZE, keep_face=0.0, keep_features=0.3)
    )
    seed: int = 1

    @property
    def batch(self) -> int:
        return self.back + self.own + self.across


@dataclass(frozen=True, eq=False)
class Examples:
    """A batch: (B, 3, 256, 256) in [-1, 1], maps in [0, 1]; the last `n_across` are "across".

    `weights` (B, 1, 256, 256) says where the answer counts; on frames of the target, how much of
    the input must come back. `references` (B, 4, 256, 256) are of `reference_tensor`, None where
    no photograph is shown.
    """

    inputs: Tensor
    boundary_maps: Tensor
    answers: Tensor
    weights: Tensor
    n_across: int
    references: Tensor | None


@dataclass(frozen=True, eq=False)
class _Example:
    """One of a batch, as `Examples` has them, before it is a tensor."""

    shown: Picture
    answer: Picture
    landmarks: Points
    weight: NDArray[np.float32]
    view: NDArray[np.uint8]


class ExampleMaker:
    """Draws and augments examples of a pair; deterministic for a seed.

    `photograph`: of the source, shown to a generator that takes one, as in a run.
    """

    def __init__(
        self,
        sources: Sequence[FaceCrop],
        targets: Sequence[FaceCrop],
        config: ExampleConfig,
        photograph: FaceCrop | None = None,
    ) -> None:
        self.sources, self.targets, self.config = sources, targets, config
        self.photograph = photograph
        self.random = np.random.default_rng(config.seed)
        self.mirror = mirrored_mesh()

    def batch(self) -> Examples:
        """The next batch."""
        config = self.config
        made = [self._back() for _ in range(config.back)]
        made += [self._own() for _ in range(config.own)]
        made += [self._across() for _ in range(config.across)]
        maps = np.stack([draw_boundary_map(example.landmarks) for example in made])
        views = torch.from_numpy(np.stack([example.view for example in made]))
        return Examples(
            to_tensor(np.stack([example.shown for example in made])),
            (to_tensor(maps) + 1.0) / 2.0,
            to_tensor(np.stack([example.answer for example in made])),
            torch.from_numpy(np.stack([example.weight for example in made]))[:, None],
            config.across,
            None if self.photograph is None else reference_tensor(views),
        )

    def _back(self) -> _Example:
        shot = self._drawn(self.sources)
        target = self._nearest(self.targets, shot, of=4)
        shown = warped_onto(target, shot, float(self.random.uniform(0.2, 1.0)))
        return self._with_answer(shown, shot, target)

    def _own(self) -> _Example:
        shot = self._drawn(self.sources)
        target = self._drawn(self.targets)
        return self._with_answer(shot.crop, shot, target)

    def _with_answer(self, shown: Picture, shot: FaceCrop, target: FaceCrop) -> _Example:
        shown = self._warped(shown, shot.landmarks)
        gain, offset = self._colours(shot, target)
        pictures = [_whole(picture * gain + offset) for picture in (shown, shot.crop)]
        view = self._view(FaceCrop(pictures[0], shot.landmarks, shot.visibility))
        (shown, answer, view), landmarks = self._moved([*pictures, view], shot.landmarks)
        return _Example(shown, answer, landmarks, _answer_weight(landmarks), view)

    def _across(self) -> _Example:
        shot = self._drawn(self.targets)
        source = self._nearest(self.sources, shot, of=16)
        answer = warped_onto(source, shot, self.config.target_colour, INNER_REACH)
        gain = 1.0 + self.config.brightness * self.random.uniform(-1.0, 1.0)
        pictures = [_whole(picture * gain) for picture in (shot.crop, answer)]
        view = self._view(FaceCrop(pictures[0], shot.landmarks, shot.visibility))
        (shown, answer, view), landmarks = self._moved([*pictures, view], shot.landmarks)
        keep = keep_map(landmarks, False, self.config.keep)
        return _Example(shown, answer, landmarks, keep, view)

    def _view(self, frame: FaceCrop) -> NDArray[np.uint8]:
        """The photograph warped onto a frame (256, 256, 4), by a mesh as inexact as most."""
        if self.photograph is None:
            return np.zeros((SIZE, SIZE, 4), np.uint8)
        return reference_view(with_inexact_mesh(self.photograph, self.random), frame)

    def _nearest(self, shots: Sequence[FaceCrop], shot: FaceCrop, of: int) -> FaceCrop:
        """Of `of` shots drawn at random, the one with the nearest mesh: like pose and speech."""
        drawn = [self._drawn(shots) for _ in range(of)]
        distances = [float(np.abs(s.landmarks - shot.landmarks).mean()) for s in drawn]
        return drawn[int(np.argmin(distances))]

    def _drawn(self, shots: Sequence[FaceCrop]) -> FaceCrop:
        return shots[int(self.random.integers(len(shots)))]

    def _warped(self, picture: Picture, landmarks: Points) -> Picture:
        """The picture with its face's inside warped smoothly at random."""
        field_ = self.random.normal(size=(SIZE, SIZE, 2)).astype(np.float32)
        field_ = np.asarray(cv2.GaussianBlur(field_, (0, 0), 20.0), np.float32)
        field_ *= self.config.warp * self.random.random() / float(field_.std())
        inside = face_mask(landmarks[list(mesh.FACE_OVAL)])
        return displaced(picture, field_ * inside[..., None])

    def _colours(self, shot: FaceCrop, target: FaceCrop) -> tuple[NDArray[np.floating], ...]:
        """Gain and offset (256, 256, 3) to a light between the source's and the target's."""
        mean, deviation = face_colours(shot)
        to_mean, to_deviation = face_colours(target)
        part = self.random.uniform(-0.2, 1.2)
        gain = 1.0 + part * (np.clip(to_deviation / deviation, 0.6, 1.6) - 1.0)
        offset = mean + part * (to_mean - mean) - gain * mean
        tint = self.random.normal(size=3) * [1.0, 0.4, 0.4]
        tint = 1.0 + self.config.brightness * (tint[0] + [tint[1], 0.0, tint[2]]) / 2.0
        # A lamp to one side: a ramp over the picture.
        direction = self.random.normal(size=2) * 0.12
        rows, columns = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
        lamp = np.exp(direction[0] * rows + direction[1] * columns)[..., None]
        return gain * tint * lamp, offset * tint * lamp

    def _moved(
        self, pictures: Sequence[NDArray[np.uint8]], landmarks: Points
    ) -> tuple[list[NDArray[np.uint8]], Points]:
        """Pictures and the mesh under one random similarity, mirrored half of the time."""
        config, random = self.config, self.random
        angle = random.uniform(-config.rotation, config.rotation)
        scale = 1.0 + random.uniform(-config.scale, config.scale)
        matrix = np.asarray(cv2.getRotationMatrix2D((127.5, 127.5), angle, scale), np.float64)
        matrix[:, 2] += random.uniform(-config.shift, config.shift, 2)
        if random.random() < 0.5:
            landmarks = landmarks[self.mirror]
            matrix = matrix @ np.array([[-1, 0, SIZE - 1], [0, 1, 0], [0, 0, 1]])
        moved = landmarks @ matrix[:, :2].T + matrix[:, 2]
        warped = [
            np.asarray(
                cv2.warpAffine(picture, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101),
                np.uint8,
            )
            for picture in pictures
        ]
        return warped, moved.astype(np.float32)


def _whole(picture: NDArray[np.floating]) -> Picture:
    whole: Picture = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    return whole


def _answer_weight(landmarks: Points) -> NDArray[np.float32]:
    """Where a true answer counts: the face most, and eyes and mouth more."""
    weight = 0.4 + 1.0 * face_mask(landmarks[list(mesh.FACE_OVAL)])
    features = np.zeros((SIZE, SIZE), np.float32)
    for contour in (mesh.RIGHT_EYE, mesh.LEFT_EYE, mesh.OUTER_LIPS):
        cv2.fillPoly(features, [sixteenths(landmarks[list(contour)])], 1.0, cv2.LINE_8, 4)
    features = np.asarray(cv2.GaussianBlur(features, (0, 0), 4.0), np.float32)
    return np.asarray(weight + features, np.float32)


def mirrored_mesh() -> NDArray[np.int64]:
    """For every point of the mesh the one on the other side (478,)."""
    points = canonical_mesh().astype(np.float64)
    flipped = points * [-1.0, 1.0, 1.0]
    mirror: NDArray[np.int64] = (
        np.linalg.norm(points[:, None] - flipped[None], axis=2).argmin(axis=1).astype(np.int64)
    )
    return mirror


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) to (B, 3, H, W) in [-1, 1], channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
