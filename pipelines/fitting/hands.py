"""Find the hands in photographs of faces, and cut them out (`pipelines/fitting/occlusion.py`).

    python -m pipelines.fitting.hands FACES CACHE

needs mediapipe 0.10.9, whose nets find the hands. It writes `hands.npz` beside the other files of
the cache: of each hand the row of the dataset, 21 joints, and whether it surely is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vidswap.training.data.face_shards import cached_faces, read_excluded, read_index
from vidswap.training.occluders.layer import Scene

FILE = "hands.npz"
SIZE, BORDERS = 256, (32, 80)  # of a crop, and what is added around it: hands are cut by its edge
CERTAIN = 0.85
SAME_PLACE = 0.35  # parts of the palm by which the joints of a hand may be off when found again
LEAST_LENGTH = 58.0  # pixels from one end to the other: what is found shorter are ears
FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
PALM, WRIST, MIDDLE = (0, 1, 5, 9, 13, 17), 0, 9
# Half the width of fingers in parts of the palm: surely theirs, theirs perhaps, and around them.
SURE, PERHAPS, AROUND = 0.07, 0.2, 0.42
ARM = 1.0  # likewise, how far behind the wrist the arm may be a part
ROUNDS = 4
# Joints that touch the face, and the points of the mesh that they touch.
TOUCHING = (4, 6, 7, 8, 8, 9, 10, 11, 12, 12, 14, 16, 18, 20)
FEATURES = (13, 14, 61, 291, 152, 152, 199, 50, 280, 205, 425, 1, 4, 168, 33, 263, 172, 397, 10)
AS_BEFORE = 0.35  # share of the hands that stay about where they are
PATH = click.Path(path_type=Path)
Joints = NDArray[np.float32]
Mask = NDArray[np.uint8]
Found = tuple[Joints, bool]


@dataclass(frozen=True, eq=False)
class Hand:
    """A hand in a photograph (256, 256, 3) of a dataset's `row`, and its `joints` (21, 2).

    `alpha` (256, 256), 0 to 1, is how much of each pixel it is, and `unsure` where that may be
    wrong: at its outline, and where the arm and what the hand holds may be.
    """

    row: int
    picture: NDArray[np.uint8]
    joints: Joints
    alpha: NDArray[np.float32]
    unsure: NDArray[np.float32]


def found_hands(cache: Path) -> dict[int, list[Joints]]:
    """The joints (21, 2), in pixels of a crop of 256, of the hands in each row that has any.

    A row without any may have one: something there looks like a hand at first.
    """
    stored = np.load(cache / FILE)
    found: dict[int, list[Joints]] = {int(row): [] for row in stored["rows"]}
    for row, joints, sure in zip(stored["rows"], stored["joints"], stored["sure"], strict=True):
        if sure and np.linalg.norm(np.ptp(joints, axis=0)) > LEAST_LENGTH:
            found[int(row)].append(joints)
    return found


def cut_out(row: int, picture: NDArray[np.uint8], joints: Joints) -> Hand | None:
    """The pixels of a hand, found from its joints by colours and edges (GrabCut); None if unclear.

    picture: (256, 256, 3) uint8 RGB
    """
    palm = _palm(joints)
    labels = np.full((SIZE, SIZE), cv2.GC_BGD, np.uint8)
    labels[_limbs(joints, AROUND * palm, ARM * palm) > 0] = cv2.GC_PR_BGD
    labels[_limbs(joints, PERHAPS * palm, 0.6 * ARM * palm) > 0] = cv2.GC_PR_FGD
    labels[_limbs(joints, SURE * palm, 0.0) > 0] = cv2.GC_FGD
    if (labels == cv2.GC_FGD).sum() < 100:
        return None
    perhaps = labels >= cv2.GC_PR_BGD
    models = np.zeros((2, 1, 65))
    cv2.grabCut(
        np.ascontiguousarray(picture), labels, None, models[0], models[1], ROUNDS,
        cv2.GC_INIT_WITH_MASK,
    )  # fmt: skip
    mask = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    mask = cv2.medianBlur(_largest(mask), 5)
    size = mask.sum() / max(palm * palm, 1.0)
    if not 0.5 < size < 4.0:
        return None
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=1)
    alpha = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), 0.8)
    rim = cv2.dilate(mask, np.ones((7, 7), np.uint8)) - cv2.erode(mask, np.ones((5, 5), np.uint8))
    unsure = (rim > 0) | (perhaps & (mask == 0))
    return Hand(row, picture, joints, alpha, unsure.astype(np.float32))


def laid_over(
    hand: Hand, picture: NDArray[np.uint8], scene: Scene, random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A hand of another photograph over a face (256, 256, 3), in the tone of its skin.

    With it the mask (256, 256) of how much of each pixel it is. It is mirrored, turned, scaled and
    moved so that a joint lies on a feature; an arm that the photograph's edge cuts goes on.
    """
    mirrored = random.random() < 0.5
    joints = hand.joints * (-1, 1) + (SIZE - 1, 0) if mirrored else hand.joints
    layer = np.dstack([hand.picture.astype(np.float32), hand.alpha])
    layer = np.ascontiguousarray(layer[:, ::-1]) if mirrored else layer
    joint = joints[random.choice(TOUCHING)]
    onto = scene.points[random.choice(FEATURES)] + random.normal(0, 0.2 * scene.unit, 2)
    if random.random() < AS_BEFORE:
        onto = joint + random.normal(0, 6, 2)
    matrix = cv2.getRotationMatrix2D(
        joint.tolist(), random.normal(0, 18), random.uniform(0.75, 1.3)
    )
    matrix[:, 2] += onto - joint
    layer = cv2.warpAffine(layer, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    alpha = np.clip(layer[..., 3], 0.0, 1.0)
    own = hand.picture[hand.alpha > 0.9].mean(axis=0)
    gain = np.clip(scene.skin / np.maximum(own, 8.0), 0.35, 2.5) ** random.uniform(0.4, 1.0)
    colour = np.clip(layer[..., :3] * gain * random.normal(1.0, 0.08), 0, 255)
    softness = random.uniform(0.0, 1.0)
    if softness > 0.3:
        alpha, colour = (cv2.GaussianBlur(part, (0, 0), softness) for part in (alpha, colour))
    shadow = cv2.GaussianBlur(alpha, (0, 0), random.uniform(2, 8)) * random.uniform(0.0, 0.45)
    moved = np.float32([[1, 0, random.normal(0, 3)], [0, 1, random.uniform(-2, 6)]])
    shadow = cv2.warpAffine(shadow, moved, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    below = ((1.0 - alpha) * (1.0 - shadow))[..., None]
    painted = picture * below + colour * alpha[..., None]
    return cv2.convertScaleAbs(painted), np.asarray(alpha, np.float32)


def _palm(joints: Joints) -> float:
    """How long the palm is, also where it is seen from a side."""
    spans = ((0, 9), (0, 5), (0, 17), (5, 17))
    lengths = [float(np.linalg.norm(joints[a] - joints[b])) for a, b in spans]
    lengths[-1] *= 1.4
    return max(lengths)


def _limbs(joints: Joints, radius: float, arm: float) -> Mask:
    """Fingers, palm and, `arm` pixels long, the arm, drawn `radius` pixels to both sides."""
    drawn = np.zeros((SIZE, SIZE), np.uint8)
    width = max(1, round(2 * radius))
    fixed = np.rint(joints * 16).astype(np.int32)
    palm = fixed[list(PALM)]
    cv2.fillConvexPoly(drawn, cv2.convexHull(palm), 1, cv2.LINE_8, 4)
    cv2.polylines(drawn, [palm], True, 1, max(1, width // 2), cv2.LINE_8, 4)
    for finger in FINGERS:
        cv2.polylines(drawn, [fixed[list(finger)]], False, 1, width, cv2.LINE_8, 4)
    if arm > 0:
        back = joints[WRIST] - joints[MIDDLE]
        back = back / max(float(np.linalg.norm(back)), 1e-3)
        end = np.rint((joints[WRIST] + arm * back) * 16).astype(np.int32)
        cv2.line(drawn, fixed[WRIST].tolist(), end.tolist(), 1, 2 * width, cv2.LINE_8, 4)
    return drawn


def _largest(mask: Mask) -> Mask:
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return mask
    return (parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)


@click.command()
@click.argument("faces", type=PATH)
@click.argument("cache", type=PATH)
def main(faces: Path, cache: Path) -> None:
    """Find hands in the photographs of a dataset and write where they are."""
    from mediapipe.python.solutions.hands import Hands

    records = read_index(faces)
    pictures = cached_faces(faces, cache, SIZE)
    rows, joints, sure = [], [], []
    with Hands(static_image_mode=True, min_detection_confidence=0.35) as finder:
        for row in tqdm(np.flatnonzero(~read_excluded(faces, records)), mininterval=10):
            for hand, certain in _hands(finder, pictures[row]):
                rows.append(row)
                joints.append(hand)
                sure.append(certain and _found_again(finder, pictures[row], hand))
    np.savez(cache / FILE, rows=rows, joints=np.array(joints), sure=np.array(sure))
    click.echo(f"{sum(sure)} hands and {len(rows) - sum(sure)} that may be some")


def _hands(finder: Any, picture: NDArray[np.uint8], border: int = BORDERS[0]) -> list[Found]:
    """The joints (21, 2) of hands in a picture (256, 256, 3), and whether they are certain."""
    edges = (border,) * 4
    answer = finder.process(cv2.copyMakeBorder(picture, *edges, cv2.BORDER_CONSTANT))
    found = zip(answer.multi_hand_landmarks or (), answer.multi_handedness or (), strict=True)
    side = SIZE + 2 * border
    return [
        (
            np.array([(p.x * side - border, p.y * side - border) for p in hand.landmark], "f4"),
            kind.classification[0].score > CERTAIN,
        )
        for hand, kind in found
    ]


def _found_again(finder: Any, picture: NDArray[np.uint8], joints: Joints) -> bool:
    """Whether a hand is found in the mirror and when it is smaller: cheeks and ears are not."""
    mirror = np.ascontiguousarray(picture[:, ::-1])
    for border in BORDERS:
        others = [other * (-1, 1) + (SIZE - 1, 0) for other, _ in _hands(finder, mirror, border)]
        off = [float(np.linalg.norm(other - joints, axis=1).mean()) for other in others]
        if min(off, default=np.inf) > SAME_PLACE * _palm(joints):
            return False
    return True


if __name__ == "__main__":
    main()
