"""Clips of generated people with known truth, and how well the first pass finds who is who.

    python -m tests.people.known_truth [SCENE...]

prints a line of JSON per scene: B-cubed F1 over faces and frames, and over tracks.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.people.scenes import (
    FPS,
    LEFT,
    SIZE,
    A,
    B,
    C,
    Scene,
    Shown,
    clip_of,
    exchanged_at_a_cut,
    exchanged_by_a_dissolve,
    leaving,
    mirrored,
    passing,
)
from vidswap.people.clustering import b_cubed
from vidswap.people.tracks import Tracks
from vidswap.swap.first_pass import find_people

WIDE, GROUP, CROWD = (660, 240), (660, 460), (860, 580)  # width, height
SIX = (A, B, C, "nora", "kenji", "male_32")
EVERYBODY = (
    *SIX, "female_16", "female_44", "female_48", "male_0", "male_20", "male_44",
)  # fmt: skip
SMALL = 140  # pixels, side of a picture in the crowd; the face takes up half of it


@dataclass(frozen=True)
class Known:
    """A scene, its frames, the size of its picture, and whether it needs more portraits."""

    scene: Scene
    frames: int
    size: tuple[int, int] = SIZE
    more: bool = False


def coming_and_going(index: int) -> Sequence[Shown]:
    """Three people; the first leaves and comes back elsewhere, then the others leave."""
    if index < 25:
        return [Shown(A, LEFT), Shown(B, 230.0), Shown(C, 440.0)]
    if index < 45:
        return [Shown(B, 230.0), Shown(C, 440.0)]
    if index < 65:
        return [Shown(C, LEFT), Shown(B, 230.0), Shown(A, 440.0)]
    return [Shown(A, 440.0)]


def six(index: int) -> Sequence[Shown]:
    """Six people in two rows; at each cut everybody has another place, in the third shot four."""
    turn = index // 20
    names = SIX[2 * turn :] + SIX[: 2 * turn]
    shown = [
        Shown(name, 15.0 + 210 * (n % 3), top=20.0 + 220 * (n // 3)) for n, name in enumerate(names)
    ]
    return shown[:4] if turn == 2 else shown


def three_passing(index: int) -> Sequence[Shown]:
    """Two people pass behind a third, who stays."""
    share = min(max((index - 10) / 50, 0.0), 1.0)
    return [
        Shown(A, LEFT + share * 420), Shown(C, 440.0 - share * 420), Shown(B, 230.0),
    ]  # fmt: skip


def twins(index: int) -> Sequence[Shown]:
    """A person and her copy, who comes nearer and goes back, and another between them."""
    return [Shown(A, LEFT), Shown(B, 230.0), Shown(A, 440.0 - abs(25 - index), top=30.0)]


def crowd(index: int) -> Sequence[Shown]:
    """Twenty small faces, of twelve people and copies of eight; then a cut to the other four."""
    names = [*EVERYBODY, *EVERYBODY[:8]] if index < 15 else [*EVERYBODY[:7:-1]]
    return [
        Shown(name, 5.0 + 170 * (n % 5), top=5.0 + 143 * (n // 5), size=SMALL)
        for n, name in enumerate(names)
    ]


SCENES = {
    "three come and go": Known(coming_and_going, 85, WIDE),
    "exchanged at a cut": Known(exchanged_at_a_cut, 60),
    "exchanged by a dissolve": Known(exchanged_by_a_dissolve, 70),
    "two pass": Known(passing, 64),
    "three pass": Known(three_passing, 74, WIDE),
    "exit and return": Known(leaving, 75),
    "mirror": Known(mirrored, 40),
    "twins": Known(twins, 50, WIDE),
    "six in three shots": Known(six, 60, GROUP, more=True),
    "crowd of twenty": Known(crowd, 30, CROWD, more=True),
    "nobody": Known(lambda index: [], 10),
}


def find(name: str, folder: Path) -> Tracks:
    """The people of a scene, as `vidswap people` finds them."""
    known = SCENES[name]
    clip = clip_of(folder / "clip.mkv", known.scene, known.frames, known.size)
    return find_people(clip, folder / "cast")


def truth(shown: Sequence[Shown], x: float, y: float) -> str | None:
    """Whose face is at a place; None where several are mixed, or one is hidden by another.

    A copy of somebody is a person of their own, as in a mirror.
    """
    near = []
    for one in shown:
        place = one.left + one.size / 2, one.top + one.size / 2
        if np.hypot(place[0] - x, place[1] - y) < one.size / 3 and one.share > 0.05:
            near.append(one)
    if len(near) != 1 or near[0].share < 0.95:
        return None
    same = [one for one in shown if one.name == near[0].name]
    return f"{near[0].name} {same.index(near[0])}"


def faces_of(tracks: Tracks, known: Known) -> list[tuple[int, str, str]]:
    """Frame, person and truth of every face that was found where it is known who it is."""
    faces = []
    for track in tracks.tracks:
        for index in range(known.frames):
            seconds = index / FPS
            if not track.start - 1e-3 <= seconds <= track.end + 1e-3:
                continue
            left, top, right, bottom = track.box_at(seconds)
            name = truth(list(known.scene(index)), (left + right) / 2, (top + bottom) / 2)
            if name is not None:
                faces.append((index, track.person, name))
    return faces


def visible(known: Known) -> int:
    """The faces of all frames that nothing hides or mixes."""
    count = 0
    for index in range(known.frames):
        shown = list(known.scene(index))
        for one in shown:
            x, y = one.left + one.size / 2, one.top + one.size / 2
            count += truth(shown, x, y) is not None
    return count


def score(tracks: Tracks, known: Known) -> dict[str, float]:
    """B-cubed F1 of faces, the share of faces that were found, and how many people there are."""
    faces = faces_of(tracks, known)
    found = {"people": len(tracks.people), "tracks": len(tracks.tracks)}
    if not faces:
        return {**found, "f1": 1.0 if not visible(known) and not tracks.tracks else 0.0}
    labels = [int(person[1:]) for _, person, _ in faces]
    names = [name for _, _, name in faces]
    precision, recall, f1 = b_cubed(labels, names)
    return {
        **found, "truth": len(set(names)), "precision": round(precision, 4),
        "recall": round(recall, 4), "f1": round(f1, 4),
        "found": round(len(faces) / visible(known), 4),
    }  # fmt: skip


def main(names: Sequence[str]) -> None:
    for name in names or SCENES:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            tracks = find(name, Path(folder))
            found = score(tracks, SCENES[name])
            took = round(time.process_time() - began, 1)
        print(json.dumps({"scene": name, **found, "processor_seconds": took}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
