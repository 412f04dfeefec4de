"""Our face nets against mediapipe's: the same answers, and the time they take.

    pip install mediapipe==0.10.9
    python -m pipelines.benchmarks.face_nets --clips clips/ --faces faces/*.zip [--pictures 500]

compares boxes, landmarks and presence on pictures (from zip files of them) and on the frames of
clips, and times both in turns. The last line says whether they agree: boxes within half a pixel,
landmarks of the same region within 0.05 pixels, the same decisions. A detection's face is looked
for twice, the second time where the first mesh says; there, pixels of the cut that round the other
way let a difference of a ten-thousandth grow.
"""

from __future__ import annotations

import argparse
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.benchmarks.mediapipe_graphs import MediapipeDetector, MediapipeFinder
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.detection import Detection, Face, FaceDetector, LandmarkFinder

MAX_BOX_ERROR, MAX_LANDMARK_ERROR = 0.5, 0.05  # pixels

Image = NDArray[np.uint8]


@dataclass
class Comparison:
    """Errors in pixels, over all frames so far, and decisions that differ."""

    frames: int = 0
    boxes: int = 0
    faces: int = 0
    box_errors: list[float] = field(default_factory=list)
    landmark_errors: list[float] = field(default_factory=list)
    second_errors: list[float] = field(default_factory=list)
    score_errors: list[float] = field(default_factory=list)
    differing: int = 0

    def add_detections(self, ours: Sequence[Detection], theirs: Sequence[Detection]) -> None:
        self.frames += 1
        if len(ours) != len(theirs):
            self.differing += 1
            return
        for one, other in zip(ours, theirs, strict=True):
            self.boxes += 1
            self.box_errors.append(float(np.abs(one.box - other.box).max()))
            self.score_errors.append(abs(one.score - other.score))

    def add_faces(self, one: Face | None, other: Face | None, twice: bool) -> None:
        if one is None or other is None:
            self.differing += one is not other
            return
        self.faces += 1
        errors = self.second_errors if twice else self.landmark_errors
        errors.append(float(np.abs(one.landmarks - other.landmarks).max()))

    def agrees(self) -> bool:
        return (
            self.differing == 0
            and max(self.box_errors, default=0.0) <= MAX_BOX_ERROR
            and max(self.landmark_errors, default=0.0) <= MAX_LANDMARK_ERROR
        )

    def __str__(self) -> str:
        return (
            f"{self.frames} frames, {self.boxes} boxes (largest error "
            f"{max(self.box_errors, default=0):.4f} px, of scores "
            f"{max(self.score_errors, default=0):.6f}), {self.faces} faces (landmarks: in the "
            f"same region {_spread(self.landmark_errors)}, in the region of a first mesh "
            f"{_spread(self.second_errors)}), {self.differing} decisions differ"
        )


def _spread(errors: list[float]) -> str:
    middle, most, largest = np.percentile(errors or [0.0], (50, 99, 100))
    return f"{middle:.4f} px in the middle, {most:.4f} in 99 %, {largest:.4f} at most"


def compare(
    frames: Iterator[Image],
    ours: tuple[FaceDetector, LandmarkFinder],
    theirs: tuple[FaceDetector, LandmarkFinder],
) -> Comparison:
    """Detections, landmarks from theirs, and landmarks from where the face was a frame ago."""
    comparison = Comparison()
    before: list[Face] = []
    for rgb in frames:
        expected = theirs[0].detect(rgb)
        comparison.add_detections(ours[0].detect(rgb), expected)
        faces = []
        for region in [*expected, *before]:
            found = theirs[1].landmarks(rgb, region)
            twice = isinstance(region, Detection)
            comparison.add_faces(ours[1].landmarks(rgb, region), found, twice)
            if found is not None:
                comparison.add_faces(
                    ours[1].landmarks(rgb, found), theirs[1].landmarks(rgb, found), False
                )
            if found is not None and twice:
                faces.append(found)
        before = faces
    return comparison


def pictures_of(archives: Sequence[Path], count: int) -> Iterator[Image]:
    """The first `count` pictures of zip files, taken in turns."""
    opened = [zipfile.ZipFile(path) for path in archives]
    names = [
        sorted(n for n in a.namelist() if n.endswith((".jpg", ".png", ".webp"))) for a in opened
    ]
    taken = 0
    for index in range(max(map(len, names))):
        for archive, in_archive in zip(opened, names, strict=True):
            if taken < count and index < len(in_archive):
                encoded = np.frombuffer(archive.read(in_archive[index]), np.uint8)
                taken += 1
                yield np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1])


def frames_of(clip: Path, count: int) -> Iterator[Image]:
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == count:
                return
            yield frame.to_ndarray(format="rgb24")


def milliseconds_in_turns(
    works: dict[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Median milliseconds of wall and of processor time of each work, taken in turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        name: (float(np.median(times, axis=0)[0] * 1e3), float(np.mean(times, axis=0)[1] * 1e3))
        for name, times in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the face nets with mediapipe's.")
    parser.add_argument("--faces", type=Path, nargs="*", default=[], help="zip files of pictures")
    parser.add_argument("--pictures", type=int, default=500, help="pictures to compare")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="videos")
    parser.add_argument("--frames", type=int, default=60, help="frames of each clip")
    parser.add_argument("--rounds", type=int, default=60, help="turns of the timing")
    arguments = parser.parse_args()
    ours = BlazeFaceDetector(), AttentionMeshFinder()
    theirs = MediapipeDetector(), MediapipeFinder()
    agrees = True
    sources = {clip.name: frames_of(clip, arguments.frames) for clip in arguments.clips}
    if arguments.faces:
        sources["pictures"] = pictures_of(arguments.faces, arguments.pictures)
    for name, frames in sources.items():
        comparison = compare(frames, ours, theirs)
        agrees &= comparison.agrees()
        print(f"{name}: {comparison}", flush=True)
    for clip in arguments.clips[:1]:
        rgb = next(frames_of(clip, 1))
        (region, *_) = theirs[0].detect(rgb)
        face = theirs[1].landmarks(rgb, region)
        assert face is not None
        for threads in (1, 2):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            works: dict[str, Callable[[], object]] = {}
            for name, (detector, finder) in {"ours": ours, "mediapipe": theirs}.items():
                works[f"{name}, detect"] = partial(detector.detect, rgb)
                works[f"{name}, landmarks"] = partial(finder.landmarks, rgb, face)
            for name, (wall, processor) in milliseconds_in_turns(works, arguments.rounds).items():
                print(f"{threads} threads: {name}: {wall:.2f} ms, {processor:.2f} ms of processor")
    print("they agree" if agrees else "they differ")
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
