"""Eyes that look elsewhere than the photograph's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.blending.heads import head, turned_mesh
from vidswap.blending.irises import warped_by_irises, with_lids_as_read
from vidswap.blending.reference import FusedReference, ReferenceShot, with_reference
from vidswap.blending.warping import FaceCrop, averted_eyes
from vidswap.faces import mesh
from vidswap.faces.pose import eye_openings

SKIN = (170, 130, 110)
EYES = (
    (mesh.RIGHT_EYE, mesh.RIGHT_EYE_CORNERS, mesh.RIGHT_IRIS),
    (mesh.LEFT_EYE, mesh.LEFT_EYE_CORNERS[::-1], mesh.LEFT_IRIS),
)


def looking(right: float = 0.0) -> FaceCrop:
    """A face with white eyes and dark irises, that look to the picture's right by eye widths."""
    points = turned_mesh()
    crop = np.full((256, 256, 3), SKIN, np.uint8)
    noise = np.random.default_rng(0).integers(-8, 9, (256, 256, 1))
    for lids, (start, end), iris in EYES:
        width = float(np.linalg.norm(points[end] - points[start]))
        middle = (points[start] + points[end]) / 2
        centre = middle + np.array([right * width, 0.0])
        rim = 0.2 * width * np.array([[1, 0], [0, -1], [-1, 0], [0, 1]])
        points[list(iris)] = np.concatenate([[centre], centre + rim])
        eye, ball = np.zeros((256, 256), np.uint8), np.zeros((256, 256), np.uint8)
        cv2.fillPoly(eye, [np.rint(points[list(lids)]).astype(np.int32)], 1)
        cv2.circle(ball, np.rint(centre).astype(int).tolist(), round(0.2 * width), 1, -1)
        crop[eye > 0] = (230, 230, 230)
        crop[(eye & ball) > 0] = (30, 20, 20)
    crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    return FaceCrop(crop, points, np.ones((128, 128), np.float32))


def dark_centres(crop: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
    """The middle of what is dark within each eye, and how many pixels that are: (x, y, n)."""
    found = []
    for lids, _, _ in EYES:
        eye = np.zeros((256, 256), np.uint8)
        cv2.fillPoly(eye, [np.rint(points[list(lids)]).astype(np.int32)], 1)
        rows, columns = np.nonzero((eye > 0) & (crop.sum(axis=2) < 240))
        found.append(np.array([columns.mean(), rows.mean(), len(rows)]))
    return found


@pytest.mark.parametrize("gaze", [-0.25, -0.1, 0.1, 0.25])
def test_irises_lie_where_the_target_looks(gaze: float) -> None:
    source, target = looking(), looking(gaze)
    field = np.zeros((256, 256, 2), np.float32)
    warped = warped_by_irises(source.crop, field, target.landmarks, source.landmarks)
    moved = dark_centres(warped, target.landmarks)
    wanted = dark_centres(target.crop, target.landmarks)
    for found, there in zip(moved, wanted, strict=True):
        assert found[:2] == pytest.approx(there[:2], abs=0.8)
        assert found[2] == pytest.approx(there[2], rel=0.2)  # whole, neither torn nor smeared


def test_nothing_but_the_eyes_is_moved() -> None:
    source, target = looking(), looking(0.2)
    field = np.zeros((256, 256, 2), np.float32)
    warped = warped_by_irises(source.crop, field, target.landmarks, source.landmarks)
    eyes = np.zeros((256, 256), np.uint8)
    for lids, _, _ in EYES:
        cv2.fillPoly(eyes, [np.rint(target.landmarks[list(lids)]).astype(np.int32)], 1)
    around = cv2.dilate(eyes, np.ones((7, 7), np.uint8)) == 0
    assert (field[around] == 0).all()
    assert (warped[around] == source.crop[around]).all()
    assert np.abs(field[eyes > 0]).max() > 3.0


def test_eyes_that_look_to_one_place_are_not_led() -> None:
    face = looking(0.1)
    field = np.full((256, 256, 2), 1.5, np.float32)
    shifted = face.landmarks + np.float32(1.5)
    warped_by_irises(face.crop, field, face.landmarks, shifted)
    assert field == pytest.approx(np.full((256, 256, 2), 1.5), abs=1e-3)


def narrowed(face: FaceCrop, share: float) -> np.ndarray:
    """The mesh of a face with the lids together, to so much of the opening."""
    points = face.landmarks.copy()
    for lids, (start, end), _ in EYES:
        middle = (points[start, 1] + points[end, 1]) / 2
        points[list(lids), 1] = middle + share * (points[list(lids), 1] - middle)
    return points


def dark_box(crop: np.ndarray, points: np.ndarray) -> tuple[int, int]:
    """How wide and high what is dark in the right eye is."""
    x, y = np.rint(points[mesh.RIGHT_IRIS[0]]).astype(int)
    dark = crop[y - 20 : y + 20, x - 20 : x + 20].astype(int).sum(axis=2) < 240
    return int(dark.any(axis=0).sum()), int(dark.any(axis=1).sum())


@pytest.mark.parametrize("share", [0.8, 0.5])
def test_lids_cover_an_iris_and_do_not_squeeze_it(share: float) -> None:
    source = looking()
    target = narrowed(source, share)
    field = np.zeros((256, 256, 2), np.float32)
    warped = warped_by_irises(source.crop, field, target, source.landmarks)
    width, height = dark_box(source.crop, source.landmarks)
    narrow_width, narrow_height = dark_box(warped, target)
    assert narrow_width == pytest.approx(width, abs=1)
    opening = np.ptp(target[list(mesh.RIGHT_EYE), 1])
    assert narrow_height <= opening + 1 < height
    # The pupil's light, which a squeezed iris would show as a line, stays as high as it is.
    lit = source.crop.copy()
    x, y = np.rint(source.landmarks[mesh.RIGHT_IRIS[0]]).astype(int)
    lit[y - 1 : y + 2, x - 1 : x + 2] = 255
    field[:] = 0
    shown = warped_by_irises(lit, field, target, source.landmarks)
    assert (shown[y - 2 : y + 3, x].min(axis=1) > 128).sum() == 3


def test_lids_are_four_tenths_further_from_the_photographs_than_asked() -> None:
    source = looking().landmarks
    assert with_lids_as_read(source, source) == pytest.approx(source, abs=1e-4)
    own = eye_openings(source)[0]
    for share in (0.8, 1.2):
        wanted = narrowed(looking(), share)
        moved = with_lids_as_read(wanted, source)
        further = own * (share + 0.4 * (share - 1.0))
        assert eye_openings(moved) == pytest.approx((further, further), abs=0.01)
    others = np.setdiff1d(np.arange(478), [*mesh.RIGHT_EYE, *mesh.LEFT_EYE])
    assert (moved[others] == wanted[others]).all()


def test_no_bright_rim_is_left_beside_an_iris_in_the_corner() -> None:
    source, target = looking(), looking(0.3)
    field = np.zeros((256, 256, 2), np.float32)
    warped = warped_by_irises(source.crop, field, target.landmarks, source.landmarks)
    for _, (_, end), iris in EYES:
        x, y = np.rint(target.landmarks[iris[0]]).astype(int)
        corner = int(target.landmarks[end, 0])
        beyond = warped[y - 8 : y + 9, x : corner + 6].min(axis=2)
        white = warped[y - 8 : y + 9, x - 14 : x].min(axis=2)
        # The white on this side lies under the lid.
        assert (beyond > 200).sum() < 0.15 * (white > 200).sum()


def test_a_picture_keeps_its_own_eyes_where_the_photograph_looks_elsewhere() -> None:
    straight, aside = looking(), looking(0.2)
    assert averted_eyes(straight, looking(0.02)).max() == 0.0
    assert averted_eyes(straight, aside).tolist() == [1.0, 1.0]
    track = FusedReference([ReferenceShot.of(straight)])
    track(0, looking(0.02))
    assert track.averted is None
    view = track(1, aside)
    assert track.averted is not None
    picture = head((90, 100, 110)).crop
    mixed = with_reference(picture, view, 1.0, track.averted)
    x, y = np.rint(aside.landmarks[mesh.RIGHT_IRIS[0]]).astype(int)
    assert mixed[y, x].astype(int) == pytest.approx(picture[y, x].astype(int), abs=3)
    x, y = np.rint(aside.landmarks[list(mesh.RIGHT_EYE)].mean(axis=0) + np.array([0, 30])).astype(
        int
    )
    assert np.abs(mixed[y, x].astype(int) - picture[y, x]).max() > 20  # the cheek below it
