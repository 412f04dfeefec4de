"""One face warped onto another, on two flat faces."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.blending.heads import head, turned_mesh
from tests.training.test_pairs import schematic_points
from vidswap.blending.fields import displacement
from vidswap.blending.warping import (
    FAR,
    NEAR,
    FaceCrop,
    eyes_alike,
    reference_view,
    smile_beyond,
    warped_onto,
    warped_part,
)
from vidswap.faces import mesh
from vidswap.faces.pose import eye_openings

SOURCE_SKIN, TARGET_SKIN = (200, 150, 120), (90, 60, 50)


def face(skin: tuple[int, int, int], around: int, shift: float = 0.0) -> FaceCrop:
    """A flat face with dark eyes and a red mouth on grey."""
    points = schematic_points().astype(np.float32)
    # Points the schema leaves out lie on the face's inside.
    points[points.sum(axis=1) == 0] = (127.5, 140.0)
    points += shift
    crop = np.full((256, 256, 3), around, np.uint8)
    for contour, colour in (
        (mesh.FACE_OVAL, skin),
        (mesh.RIGHT_EYE, (20, 20, 20)),
        (mesh.LEFT_EYE, (20, 20, 20)),
        (mesh.OUTER_LIPS, (180, 40, 40)),
    ):
        cv2.fillPoly(crop, [np.rint(points[list(contour)]).astype(np.int32)], colour)
    return FaceCrop(crop, points)


def test_a_displacement_field_takes_points_to_points() -> None:
    points = np.random.default_rng(0).uniform(60, 200, (478, 2)).astype(np.float32)
    shifted = displacement(points, points + np.float32([3.0, -2.0]))
    assert shifted[130, 130] == pytest.approx([3.0, -2.0], abs=1e-3)
    larger = (points - 128) * 1.05 + 128
    field = displacement(points.astype(np.float64), larger, np.arange(478) < 9)
    assert field[150, 170] == pytest.approx([0.05 * 42, 0.05 * 22], abs=0.5)  # row 150 is y


def test_a_warped_face_covers_the_face_and_nothing_else() -> None:
    over, frame = face(TARGET_SKIN, 220, 6.0), face(SOURCE_SKIN, 40)
    mixed = warped_onto(over, frame, colour=0.0)
    np.testing.assert_array_equal(mixed[:20], frame.crop[:20])
    np.testing.assert_array_equal(mixed[:, :20], frame.crop[:, :20])
    assert mixed[150, 128].astype(int) == pytest.approx(TARGET_SKIN, abs=2)
    # Its eyes lie where the frame's eyes are, six pixels from where they were.
    dark = np.argwhere(mixed[90:122, 80:115].sum(axis=2) < 100).mean(axis=0)
    assert dark == pytest.approx([106 - 90, 97 - 80], abs=1.5)


def test_colour_takes_the_covered_face_s_mean() -> None:
    over, frame = face(TARGET_SKIN, 220), face(SOURCE_SKIN, 40)
    mixed = warped_onto(over, frame, colour=1.0)
    inside = (slice(106, 178), slice(97, 158))  # from the eyes to the corners of the mouth
    wanted = frame.crop[inside].mean(axis=(0, 1))
    assert mixed[inside].mean(axis=(0, 1)) == pytest.approx(wanted, abs=8)
    assert np.abs(over.crop[inside].mean(axis=(0, 1)) - wanted).min() > 50


def test_a_shorter_reach_leaves_the_brow_the_frame_s() -> None:
    over, frame = face(TARGET_SKIN, 220), face(SOURCE_SKIN, 40)
    mixed = warped_onto(over, frame, colour=0.0, reach=0.75)
    assert mixed[58, 128].astype(int) == pytest.approx(
        SOURCE_SKIN, abs=12
    )  # eight pixels inside the outline
    assert mixed[150, 128].astype(int) == pytest.approx(TARGET_SKIN, abs=3)
    usual = warped_onto(over, frame, colour=0.0)
    assert usual[66, 128].astype(int) == pytest.approx(TARGET_SKIN, abs=12)


def test_a_face_warped_onto_itself_is_itself() -> None:
    frame = face(SOURCE_SKIN, 40)
    assert np.abs(warped_onto(frame, frame, 1.0).astype(int) - frame.crop).max() <= 1


def test_light_is_the_frames_where_a_lamp_stands_to_one_side() -> None:
    over, frame = face(SOURCE_SKIN, 40), face(SOURCE_SKIN, 40)
    lamp = np.linspace(0.4, 1.0, 256)[None, :, None]
    lit = FaceCrop((frame.crop * lamp).astype(np.uint8), frame.landmarks)
    left, right = (slice(140, 150), slice(80, 90)), (slice(140, 150), slice(166, 176))
    ratios = []
    for light in (0.0, 1.0):
        mixed = warped_onto(over, lit, colour=0.0, light=light).astype(float)
        ratios.append(mixed[left].mean() / mixed[right].mean())
    wanted = lit.crop[left].mean() / lit.crop[right].mean()
    assert ratios[0] == pytest.approx(1.0, abs=0.02) and wanted < 0.8
    assert ratios[1] == pytest.approx(wanted, abs=0.1)


def test_a_reference_is_the_face_without_what_is_between_the_lips() -> None:
    over, frame = face(SOURCE_SKIN, 40), face(TARGET_SKIN, 220)
    view = reference_view(over, frame, colour=0.0, light=0.0)
    assert view.shape == (256, 256, 4)
    assert view[150, 128].tolist() == pytest.approx([*SOURCE_SKIN, 255], abs=2)
    assert view[:20, :, 3].max() == view[:, :20, 3].max() == 0
    mouth = frame.landmarks[list(mesh.INNER_LIPS)]
    column, row = np.rint(mouth.mean(axis=0)).astype(int)
    open_mouth = frame.landmarks.copy()
    open_mouth[list(mesh.INNER_LIPS)] = (mouth - mouth.mean(axis=0)) * [1.0, 6.0] + [column, row]
    opened = reference_view(over, FaceCrop(frame.crop, open_mouth), 0.0, 0.0)
    assert opened[row, column, 3] < 30


def opened(shot: FaceCrop, share: float) -> FaceCrop:
    """The lids of a face brought together or apart, to `share` of its opening."""
    points = shot.landmarks.copy()
    for eye, corners in (
        (mesh.RIGHT_EYE, mesh.RIGHT_EYE_CORNERS),
        (mesh.LEFT_EYE, mesh.LEFT_EYE_CORNERS),
    ):
        middle = points[list(corners)].mean(axis=0)
        points[list(eye)] = (points[list(eye)] - middle) * np.float32([1.0, share]) + middle
    return FaceCrop(shot.crop, points)


def test_a_reference_has_open_eyes_for_open_ones_and_none_for_a_blink() -> None:
    over, frame = face(SOURCE_SKIN, 40), face(TARGET_SKIN, 220)
    corners = mesh.RIGHT_EYE_CORNERS, mesh.LEFT_EYE_CORNERS
    places = [np.rint(frame.landmarks[list(c)].mean(axis=0)).astype(int) for c in corners]

    def shown(face: FaceCrop, frame: FaceCrop) -> list[int]:
        mask = reference_view(face, frame)[..., 3]
        assert all(mask[row - 20, column] > 200 for column, row in places)  # the brow
        return [int(mask[row, column]) for column, row in places]

    assert min(shown(over, frame)) > 200
    assert max(shown(over, opened(frame, 0.25))) < 30
    assert max(shown(opened(over, 0.1), frame)) < 30
    assert all(60 < seen < 200 for seen in shown(over, opened(frame, 0.4)))


def test_of_a_wink_only_the_open_eye_is_shown() -> None:
    awake = face((200, 150, 120), 90)
    winking = opened(awake, 1.0)
    lids = winking.landmarks.copy()
    lids[list(mesh.LEFT_EYE), 1] = lids[list(mesh.LEFT_EYE), 1].mean()
    winking = replace(winking, landmarks=lids)
    mask = reference_view(awake, winking)[..., 3]
    right, left = (
        mask[tuple(np.rint(lids[list(eye)].mean(axis=0)[::-1]).astype(int))]
        for eye in (mesh.RIGHT_EYE, mesh.LEFT_EYE)
    )
    assert right > 200 and left < 40


def test_lashes_and_creases_of_open_eyes_are_not_shown_over_shut_ones() -> None:
    over, frame = face(SOURCE_SKIN, 40), face(TARGET_SKIN, 220)
    corners = frame.landmarks[list(mesh.RIGHT_EYE_CORNERS)]
    column, row = np.rint(corners.mean(axis=0)).astype(int)
    lashes = row - round(0.3 * float(np.linalg.norm(corners[1] - corners[0])))
    assert reference_view(over, frame)[lashes, column, 3] > 200
    assert reference_view(over, opened(frame, 0.3))[lashes, column, 3] < 100


def test_half_shut_eyes_are_shown_alike_though_their_meshes_differ() -> None:
    awake = opened(face(SOURCE_SKIN, 40), 1.0)
    squinting = opened(awake, 0.45)
    lids = squinting.landmarks.copy()
    middle = lids[list(mesh.LEFT_EYE), 1].mean()
    lids[list(mesh.LEFT_EYE), 1] = middle + 0.7 * (lids[list(mesh.LEFT_EYE), 1] - middle)
    right, left = eye_openings(lids)
    assert 0.03 < right - left < 0.08
    alike = eyes_alike(awake, replace(squinting, landmarks=lids))
    assert alike[0] == pytest.approx(alike[1], abs=0.05) and 0.1 < alike[0] < 0.9


def narrowed(shot: FaceCrop, share: float) -> FaceCrop:
    """The mouth so much of its width."""
    landmarks = shot.landmarks.copy()
    lips = [*mesh.OUTER_LIPS, *mesh.INNER_LIPS]
    middle = landmarks[lips, 0].mean()
    landmarks[lips, 0] = middle + share * (landmarks[lips, 0] - middle)
    return replace(shot, landmarks=landmarks)


def test_the_folds_of_a_smile_are_not_shown_beside_a_mouth_that_does_not_smile() -> None:
    smiling, frame = face((200, 150, 120), 90), face((210, 160, 130), 60)
    pursed = narrowed(frame, 0.6)
    shown = reference_view(smiling, frame)[..., 3].astype(float)
    hidden = reference_view(smiling, pursed)[..., 3].astype(float)
    assert (smile_beyond(smiling, frame), smile_beyond(smiling, pursed)) == (0.0, 1.0)
    assert smile_beyond(pursed, smiling) == 0.0  # a wider smile than the photograph's
    for corner in (mesh.RIGHT_MOUTH_CORNER, mesh.LEFT_MOUTH_CORNER):
        x, y = np.rint(pursed.landmarks[corner]).astype(int)
        x += 7 * np.sign(x - 128)
        assert shown[y, x] > 200 and hidden[y, x] < 80
    lip = np.rint(pursed.landmarks[[0, 13]].mean(axis=0)).astype(int)  # the lips stay
    assert abs(hidden[lip[1], lip[0]] - shown[lip[1], lip[0]]) < 40
    half_way = narrowed(frame, 0.82)
    assert 0.0 < smile_beyond(smiling, half_way) < 1.0


def test_hair_over_the_brow_is_not_shown_and_a_beard_is() -> None:
    plain = face(SOURCE_SKIN, 40)
    oval = np.rint(plain.landmarks[list(mesh.FACE_OVAL)]).astype(np.int32)
    inside = cv2.fillPoly(np.zeros((256, 256), np.uint8), [oval], 1).astype(bool)
    top, bottom = oval[:, 1].min(), oval[:, 1].max()
    rows = np.arange(256)[:, None]
    fringe = inside & (rows < top + 16)
    beard = inside & (rows > bottom - 20)
    haired = plain.crop.copy()
    haired[fringe | beard] = (40, 30, 20)
    frame = face(TARGET_SKIN, 220)
    bare, covered = (
        reference_view(FaceCrop(crop, plain.landmarks), frame)[..., 3]
        for crop in (plain.crop, haired)
    )
    strong = bare > 200
    assert strong[fringe].sum() > 100
    assert covered[fringe & strong].mean() < 60
    np.testing.assert_allclose(covered[beard], bare[beard], atol=2)
    assert covered[150, 128] == 255
    # An answer has the frame's own pixels there.
    answer = warped_onto(FaceCrop(haired, plain.landmarks), frame, 0.0, uncovered=True)
    assert answer[top + 8, 128].astype(int) == pytest.approx(TARGET_SKIN, abs=12)


def test_the_warp_brings_lids_together() -> None:
    over, frame = face(SOURCE_SKIN, 40), face(TARGET_SKIN, 220)
    heights = []
    for share in (1.0, 0.5):
        mixed = warped_onto(over, opened(frame, share), colour=0.0)
        column, row = np.rint(frame.landmarks[list(mesh.RIGHT_EYE)].mean(axis=0)).astype(int)
        heights.append(int((mixed[row - 15 : row + 15, column].sum(axis=1) < 200).sum()))
    assert heights[0] >= 6
    assert heights[1] < 0.75 * heights[0]


def test_the_warp_parts_lips_as_far_as_the_frames_are_parted() -> None:
    shut, lower_lip = turned_mesh(), [14, 17, 87, 317, 84, 314]
    over = FaceCrop(np.full((256, 256, 3), 150, np.uint8), shut)
    for points, colour in (([13, 0], (250, 0, 0)), ([14, 17], (0, 0, 250))):
        column, row = np.rint(shut[points].mean(axis=0)).astype(int)
        over.crop[row - 1 : row + 2, column - 3 : column + 4] = colour
    parted = shut.copy()
    parted[lower_lip] += np.float32([0.0, 9.0])
    warped = warped_onto(over, FaceCrop(over.crop, parted), colour=0.0).astype(int)
    upper = np.argwhere(warped[..., 0] - warped[..., 2] > 60)[:, 0].mean()
    lower = np.argwhere(warped[..., 2] - warped[..., 0] > 60)[:, 0].mean()
    assert upper == pytest.approx(parted[[13, 0], 1].mean(), abs=1.2)
    assert lower == pytest.approx(parted[[14, 17], 1].mean(), abs=1.2)


def test_a_reference_fades_out_where_two_faces_lie_apart() -> None:
    over, frame = face(SOURCE_SKIN, 40), face(TARGET_SKIN, 220)
    for distance, expected in ((NEAR - 1, 255), ((NEAR + FAR) / 2, 127.5), (FAR, 0)):
        apart = FaceCrop(over.crop, over.landmarks + np.float32(distance))
        assert reference_view(apart, frame)[150, 128, 3] == pytest.approx(expected, abs=3)


def test_what_lies_before_one_of_two_faces_is_not_shown() -> None:
    over, frame = face(SOURCE_SKIN, 40, 6.0), face(TARGET_SKIN, 220)
    visibility = np.ones((128, 128), np.float32)
    visibility[70:75, 60:65] = 0.0  # of the crop's rows 140 to 149 and columns 120 to 129
    shown = reference_view(over, frame)[..., 3]
    on_frame = reference_view(over, replace(frame, visibility=visibility))[..., 3]
    on_source = reference_view(replace(over, visibility=visibility), frame)[..., 3]
    assert (shown[130:165, 105:150] == 255).all()
    for view, (top, left) in ((on_frame, (140, 120)), (on_source, (134, 114))):
        assert view[top + 3 : top + 7, left + 3 : left + 7].max() <= 5
        beside = np.concatenate([view[top - 5], view[top + 14]])
        assert (beside[100:150] == 255).all()


def test_a_cheek_that_is_seen_from_the_side_is_not_shown() -> None:
    frame = face(TARGET_SKIN, 220)
    narrow = frame.landmarks.copy()
    beside = narrow[:, 0] > 150  # a sixth as wide as on the frame
    narrow[beside, 0] = 150 + (narrow[beside, 0] - 150) / 6
    shown = reference_view(FaceCrop(face(SOURCE_SKIN, 40).crop, narrow), frame)[..., 3]
    whole = reference_view(face(SOURCE_SKIN, 40), frame)[..., 3]
    hidden = np.argwhere((whole > 200) & (shown < 50))
    assert len(hidden) > 100 and hidden[:, 1].min() > 128
    assert shown[120:150, 90:128].min() > 250


def test_brown_eyes_of_a_reddish_face_stay_brown_on_a_pale_one() -> None:
    def eyes(skin: tuple[int, int, int], iris: tuple[int, int, int]) -> FaceCrop:
        plain = head(skin)
        crop = plain.crop.copy()
        for points in (mesh.RIGHT_IRIS, mesh.LEFT_IRIS):
            centre = np.rint(plain.landmarks[points[0]]).astype(int).tolist()
            cv2.circle(crop, centre, 5, iris, -1)
        return replace(plain, crop=crop)

    reddish, pale = eyes((200, 130, 105), (50, 28, 22)), eyes((140, 124, 116), (40, 40, 40))
    warped, *_ = warped_part(reddish, pale, colour=0.9)
    x, y = np.rint(pale.landmarks[mesh.RIGHT_IRIS[0]]).astype(int)
    red, _, blue = warped[y - 2 : y + 3, x - 2 : x + 3].mean(axis=(0, 1))
    assert red > blue + 5
    x, y = np.rint(pale.landmarks[[50, 101]].mean(axis=0)).astype(int)
    skin = warped[y - 2 : y + 3, x - 2 : x + 3].mean(axis=(0, 1))
    np.testing.assert_allclose(skin, (140, 124, 116), atol=9)
