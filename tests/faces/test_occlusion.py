"""What lies before a face, on photographs and on what is drawn over them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.photographs import astronaut, grace_hopper
from vidswap.blending.mask import face_mask
from vidswap.faces import mesh
from vidswap.faces.align import align_face, face_affine, warp_points
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.occlusion import (
    BROWS,
    GLASSES,
    OTHER,
    occlusions,
    target_visibility,
    visibility_maps,
    without_brows,
)
from vidswap.faces.skin import uncovered_part
from vidswap.training.augmentation import add_occluder, motion_kernel
from vidswap.training.data.face_shards import iterate_faces, read_index

Aligned = tuple[np.ndarray, np.ndarray]


def with_glasses(
    picture: np.ndarray,
    landmarks: np.ndarray,
    colour: tuple[int, int, int] = (15, 15, 15),
    thickness: int | None = None,
) -> np.ndarray:
    worn = picture.copy()
    corners = np.rint(landmarks[[33, 133, 362, 263]] * 16.0).astype(int)
    if thickness is None:
        thickness = max(2, round(np.linalg.norm(corners[3] - corners[0]) / 16.0 / 25))
    for one, other in (corners[:2], corners[2:]):
        centre, radius = (one + other) // 2, int(0.75 * np.linalg.norm(other - one))
        cv2.circle(worn, centre.tolist(), radius, colour, thickness, cv2.LINE_AA, 4)
    ends = (corners[1].tolist(), corners[2].tolist())
    cv2.line(worn, *ends, colour, thickness, cv2.LINE_AA, 4)
    return worn


@pytest.fixture(scope="module")
def aligned() -> dict[str, Aligned]:
    """The two photographs' faces and meshes."""
    detector, finder = BlazeFaceDetector(), AttentionMeshFinder()
    found = {}
    for name, picture in (("bare", astronaut()), ("worn", grace_hopper())):
        (detection, *_) = detector.detect(picture)
        face = finder.landmarks(picture, detection)
        assert face is not None
        affine = face_affine(face.landmarks)
        found[name] = align_face(picture, affine), warp_points(affine, face.landmarks)
    detector.close()
    finder.close()
    return found


def agreement(found: np.ndarray, wanted: np.ndarray) -> float:
    """Intersection over union."""
    return float((found & wanted).sum() / (found | wanted).sum())


def test_glasses_are_found_on_a_face_that_wears_them(aligned: dict[str, Aligned]) -> None:
    bare, worn = occlusions([aligned[name][0] for name in ("bare", "worn")])[:, GLASSES]
    assert (bare > 0.5).mean() < 5e-4
    assert (worn > 0.5).mean() > 4e-3
    rows, columns = np.nonzero(worn > 0.5)
    eyes = aligned["worn"][1][[33, 133, 362, 263]]
    assert (
        abs(rows.mean() - eyes[:, 1].mean()) < 16 and abs(columns.mean() - eyes[:, 0].mean()) < 10
    )


def test_glasses_drawn_as_circles_are_found(aligned: dict[str, Aligned]) -> None:
    crop, landmarks = aligned["bare"]
    drawn = with_glasses(crop, landmarks)
    where = (drawn != crop).any(axis=2).astype(np.float32)
    wanted = where > 0.5
    assert agreement(occlusions([drawn])[0, GLASSES] > 0.5, wanted) > 0.5


@pytest.mark.parametrize(
    ("colour", "least"),
    [((30, 30, 30), 0.95), ((95, 85, 80), 0.75), ((165, 120, 70), 0.48), ((225, 215, 200), 0.4)],
)
def test_rims_of_wire_are_found_and_little_beside_them_is_left_out(
    aligned: dict[str, Aligned], colour: tuple[int, int, int], least: float
) -> None:
    crop, landmarks = aligned["bare"]
    drawn = with_glasses(crop, landmarks, colour, thickness=1)
    seen = target_visibility([drawn], [landmarks])[1][0]
    face = target_visibility([crop], [landmarks])[1][0] > 0.9
    wire = (drawn != crop).any(axis=2) & face
    plain = (np.abs(drawn.astype(int) - crop).max(axis=2) > 40) & face  # where one can see it
    assert (seen[plain] < 0.5).mean() > least
    near = (cv2.dilate(wire.astype(np.uint8), np.ones((9, 9))) > 0) & face
    assert (1.0 - seen)[near].sum() < 2.5 * wire.sum()


def test_a_hand_that_moves_is_found(aligned: dict[str, Aligned]) -> None:
    crop, landmarks = aligned["bare"]
    face = face_mask(landmarks[list(mesh.FACE_OVAL)]) > 0.5
    face &= occlusions([crop])[0, OTHER] < 0.5
    found = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        drawn, where = add_occluder(crop, landmarks, random, "hand")
        smear = motion_kernel(14.0, random)
        share = cv2.filter2D(where, -1, smear)
        above = cv2.filter2D(drawn * where[..., None], -1, smear)
        smeared = cv2.convertScaleAbs(crop * (1.0 - share[..., None]) + above)
        wanted = (share > 0.6) & face
        if wanted.mean() > 0.01:
            found.append(float((occlusions([smeared])[0, OTHER] > 0.5)[wanted].mean()))
    assert len(found) >= 4 and np.median(found) > 0.8


@pytest.mark.parametrize(
    ("kind", "least"), [("hand", 0.6), ("microphone", 0.8), ("face mask", 0.8)]
)
def test_other_things_before_a_face_are_found(
    aligned: dict[str, Aligned], kind: str, least: float
) -> None:
    crop, landmarks = aligned["bare"]
    face = face_mask(landmarks[list(mesh.FACE_OVAL)]) > 0.5
    face &= occlusions([crop])[0, OTHER] < 0.5  # but for the photograph's own hair
    agreed = []
    for seed in range(12):
        drawn, where = add_occluder(crop, landmarks, np.random.default_rng(seed), kind)
        wanted = (where > 0.5) & face
        if wanted.mean() > 0.01:
            agreed.append(agreement((occlusions([drawn])[0, OTHER] > 0.5) & face, wanted))
    assert len(agreed) >= 4 and np.median(agreed) > least


def test_hair_beside_the_forehead_is_found_and_skin_is_not(aligned: dict[str, Aligned]) -> None:
    for crop, landmarks in aligned.values():
        other = occlusions([crop])[0, OTHER] > 0.5
        hair = cv2.resize(uncovered_part(crop, landmarks), (256, 256)) < 0.5  # by its colour
        around = face_mask(landmarks[list(mesh.FACE_OVAL)]) > 0.05
        assert hair[around].mean() > 0.02 and agreement(other & around, hair & around) > 0.5
        skin = np.rint(landmarks[[4, 50, 280, 151, 152]]).astype(int)  # nose to chin
        assert not other[skin[:, 1], skin[:, 0]].any()


def test_what_is_clear_leaves_a_margin_around_what_is_not(aligned: dict[str, Aligned]) -> None:
    crops, meshes = zip(aligned["worn"], aligned["bare"], strict=True)
    visibility = visibility_maps(list(crops))
    fine = target_visibility(list(crops), meshes)[1]
    assert visibility.shape == (2, 128, 128) and fine.shape == (2, 256, 256)
    found = occlusions(list(crops))
    quarters = found.reshape(2, 2, 128, 2, 128, 2)
    glasses = quarters[0, GLASSES] > 0.6
    assert glasses.any() and visibility[0][glasses.all(axis=(1, 3))].max() == 0.0
    other = quarters[:, OTHER].mean(axis=(2, 4)) > 0.6
    for sure, seen in zip(other, visibility, strict=True):
        assert seen[cv2.dilate(sure.astype(np.uint8), np.ones((3, 3))) > 0].max() == 0.0
    rims = (found[0, GLASSES] > 0.6).astype(np.uint8)
    assert fine[0][rims > 0].max() == 0.0
    assert fine[0][cv2.dilate(rims, np.ones((3, 3))) > 0].max() < 0.7  # and fades in beside them
    assert visibility_maps([]).shape == (0, 128, 128)
    assert [part.shape for part in target_visibility([], [])] == [(0, 128, 128), (0, 256, 256)]


DATASET = Path(__file__).resolve().parents[3] / "shared" / "data" / "faces"
# Photographs that the net was not shown, and places on the hands before their faces.
HANDS = {
    "010626.webp": ((136, 213), (154, 174), (126, 188)),
    "013277.webp": ((135, 178), (153, 188), (117, 190)),
    "018695.webp": ((163, 190), (185, 163), (190, 154)),
    "025170.webp": ((120, 195), (110, 194), (125, 186)),
}


@pytest.mark.skipif(not DATASET.is_dir(), reason="needs the dataset of faces")
def test_hands_before_faces_in_photographs_are_found() -> None:
    records = [record for record in read_index(DATASET) if record.file in HANDS]
    crops = list(iterate_faces(DATASET, records, 256))
    assert len(crops) == len(HANDS)
    for record, found in zip(records, occlusions(crops), strict=True):
        assert all(found[OTHER, y, x] > 0.6 for x, y in HANDS[record.file])


BROW, HAIR, FOREHEAD = (110, 80, 70), (30, 25, 40), (220, 180, 160)


def browed(landmarks: np.ndarray, over: np.ndarray, end: tuple[int, int, int]) -> np.ndarray:
    """A crop with the right brow, whose end is of another colour where something lies over it."""
    small = np.full((128, 128, 3), FOREHEAD, np.uint8)
    small[over > 0.5] = HAIR
    brow = np.zeros((128, 128), np.uint8)
    hull = cv2.convexHull(np.rint(landmarks[list(BROWS[0])] / 2.0).astype(np.int32))
    cv2.fillConvexPoly(brow, hull, 1)
    small[brow > 0] = BROW
    small[(brow > 0) & (over > 0.5)] = end
    return cv2.resize(small, (256, 256), interpolation=cv2.INTER_NEAREST)


def hair_to_the_end_of_a_brow(landmarks: np.ndarray) -> np.ndarray:
    columns = np.mgrid[:128, :128][1]
    return (columns < landmarks[70, 0] / 2.0 + 3).astype(np.float32)


def test_the_end_of_a_brow_that_touches_the_hair_is_no_hair(aligned: dict[str, Aligned]) -> None:
    landmarks = aligned["bare"][1]
    beside = hair_to_the_end_of_a_brow(landmarks)
    tail = landmarks[70] / 2.0
    at = round(tail[1]), round(tail[0]) + 2
    assert beside[at] == 1.0
    kept = without_brows(beside, browed(landmarks, beside, BROW), landmarks)
    assert kept[at] < 0.1
    rows, columns = np.mgrid[:128, :128]
    away = np.hypot(columns - tail[0], rows - tail[1]) > 40
    np.testing.assert_array_equal(kept[away], beside[away])


def test_strands_a_fringe_and_a_hand_over_a_brow_stay_before_it(
    aligned: dict[str, Aligned],
) -> None:
    landmarks = aligned["bare"][1]
    beside = hair_to_the_end_of_a_brow(landmarks)
    strand = browed(landmarks, beside, HAIR)
    np.testing.assert_array_equal(without_brows(beside, strand, landmarks), beside)
    rows = np.mgrid[:128, :128][0]
    fringe = (rows < landmarks[159, 1] / 2.0).astype(np.float32)  # down to the upper lid
    hand = np.ones((128, 128), np.float32)
    for over in (fringe, hand):
        crop = browed(landmarks, over, BROW)
        np.testing.assert_array_equal(without_brows(over, crop, landmarks), over)
