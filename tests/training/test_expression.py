"""Expression read from pixels: a photograph that is made to blink and to speak."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.photographs import astronaut
from vidswap.animation.motion import Pose
from vidswap.animation.portrait import animate
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.people.source import SourceReader
from vidswap.training.expression import ExpressionNet, corner_points, expression_loss, patches

Faces = tuple[Tensor, Tensor]


def tensor(crops: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


@pytest.fixture(scope="module")
def faces() -> Iterator[Faces]:
    """At rest, with half shut and shut eyes, with half open and open mouth; the rest's corners."""
    moments = [Pose(), Pose(blink=0.5), Pose(blink=1.0), Pose(mouth=0.5), Pose(mouth=1.0)]
    photo, reader = astronaut(), SourceReader.load()
    face = reader.faces(photo)[0]
    times = np.arange(float(len(moments)))
    shown = list(animate(photo, face, times, lambda seconds: moments[int(seconds)]))
    face = reader.faces(shown[0])[0]
    affine = face_affine(face.landmarks)
    crops = [align_face(frame, affine) for frame in shown]
    corners = torch.from_numpy(corner_points(warp_points(affine, face.landmarks)))
    reader.close()
    yield tensor(crops), corners[None].repeat(5, 1, 1, 1)


def test_lids_that_close_and_lips_that_part_are_read(faces: Faces) -> None:
    eyes, mouths = ExpressionNet.packaged()(*patches(*faces))
    right, left = eyes[:, 0].view(2, 5)
    for opening in (right, left):
        assert float(opening[0]) > float(opening[1]) > float(opening[2])
    assert min(float(mouths[3]), float(mouths[4])) > float(mouths[0]) + 0.3  # deviations


def test_the_loss_tells_another_expression_and_pulls_towards_the_targets(faces: Faces) -> None:
    pictures, corners = faces
    net = ExpressionNet.packaged()
    torch.manual_seed(0)

    def loss(outputs: Tensor) -> Tensor:
        return torch.stack(
            [expression_loss(net, outputs, pictures[:1], corners[:1]) for _ in range(8)]
        ).mean()

    rest, blink, speech = (loss(pictures[i : i + 1]) for i in (0, 2, 4))
    assert float(blink) > 2.0 * float(rest)
    assert float(speech) > 2.0 * float(rest)
    outputs = pictures[2:3].clone().requires_grad_()
    before = loss(outputs)
    before.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    with torch.no_grad():
        after = loss(outputs - 0.5 * outputs.grad / outputs.grad.abs().max())
    assert float(after) < float(before.detach())


def test_a_left_eye_is_read_as_a_mirrored_right_one(faces: Faces) -> None:
    pictures, corners = faces
    eyes, mouths = patches(pictures[:1], corners[:1])
    turned = corners[:1].clone()
    turned[..., 0] = 255.0 - turned[..., 0]
    turned = torch.stack([turned[:, 1], turned[:, 0], turned[:, 2].flip(1)], dim=1)
    of_mirrored, mouths_mirrored = patches(pictures[:1].flip(3), turned)
    torch.testing.assert_close(of_mirrored, eyes.flip(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(mouths_mirrored, mouths.flip(3), atol=1e-4, rtol=0)
