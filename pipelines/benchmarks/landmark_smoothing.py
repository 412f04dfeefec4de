"""Measures landmark smoothing: jitter of a still face, lag of a fast one, damping of expression.

    python pipelines/benchmarks/landmark_smoothing.py [--frames 120]

Two public-domain photographs are moved in known ways, given fresh sensor noise and compression in
every frame, and tracked with the real detector; so the noise is the net's own and the truth is
known. Blinks and speech are added to the measured landmarks, since a photograph makes none. Errors
are in thousandths of the face size (the diagonal of the box around all landmarks).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from skimage import data

from vidswap.faces import mesh
from vidswap.faces.align import invert_affine, similarity_transform, warp_points
from vidswap.faces.blazeface_detector import AttentionMeshFinder, BlazeFaceDetector
from vidswap.faces.detection import Face, FaceDetector, LandmarkFinder
from vidswap.faces.pose import eye_opening, mouth_opening
from vidswap.faces.smoothing import RIGID_POINTS, Smoothing, face_size, smooth_landmarks

Points = NDArray[np.float64]  # (T, 478, 2)
Affine = NDArray[np.float64]
Filter = Callable[[Points, NDArray[np.float64]], Points]

FPS = 30.0
NOISE, JPEG_QUALITY = 4.0, 80  # grey levels; OpenCV's 0 to 100
LOOKAHEAD = 9  # frames the tracker waits at most


@dataclass(frozen=True)
class Sequence:
    """Landmarks as the net found them in every frame, the frames' true motion and times."""

    raw: Points
    motion: NDArray[np.float64]  # (T, 2, 3), photograph to frame
    seconds: NDArray[np.float64]

    def truth(self) -> Points:
        """Where the landmarks are: the mean of all frames' answers, moved like the photograph.

        Taking the mean leaves the net's constant errors out, which no filter can mend.
        """
        still = [
            warp_points(invert_affine(m), x) for m, x in zip(self.motion, self.raw, strict=True)
        ]
        mean = np.mean(still, axis=0)
        return np.stack([warp_points(m, mean) for m in self.motion])


def photographs() -> dict[str, NDArray[np.uint8]]:
    hopper = cv2.imread(f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg")
    assert hopper is not None, "matplotlib comes with this picture"
    return {"hopper": hopper[:, :, ::-1].astype(np.uint8), "astronaut": data.astronaut()}


def motions(size: float, centre: Affine) -> dict[str, Callable[[float], Affine]]:
    """Ways to move a face of `size` pixels about its centre (2,): seconds to the affine (2, 3)."""

    def about_centre(degrees: float, zoom: float, shift: tuple[float, float]) -> Affine:
        turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, zoom)
        offset = np.array([[0, 0, shift[0]], [0, 0, shift[1]]]) * size
        return np.asarray(turn + offset, np.float64)

    def wave(hertz: float, t: float) -> float:
        return float(np.sin(2 * np.pi * hertz * t))

    return {
        "still": lambda t: about_centre(0, 1, (0, 0)),
        "hand-held": lambda t: about_centre(
            0.5 * wave(0.9, t), 1, (0.01 * wave(1.3, t), 0.01 * wave(1.7, t))
        ),
        "slow": lambda t: about_centre(5 * wave(0.3, t), 1, (0.1 * wave(0.3, t), 0)),
        "fast": lambda t: about_centre(
            15 * wave(1.0, t), 1 + 0.1 * wave(0.7, t), (0.25 * wave(1.5, t), 0.1 * wave(1.1, t))
        ),
    }


def record(
    rgb: NDArray[np.uint8],
    name: str,
    n_frames: int,
    detector: FaceDetector,
    finder: LandmarkFinder,
) -> Sequence:
    """Move a photograph and follow its face as the tracker does."""
    face = found(finder.landmarks(rgb, detector.detect(rgb)[0]))
    size, centre = face_size(face.landmarks), face.landmarks.mean(axis=0).astype(np.float64)
    move = motions(size, centre)[name]
    random = np.random.default_rng(0)
    seconds = np.arange(n_frames) / FPS
    raw, affines = [], []
    for t in seconds:
        affine = move(t)
        frame = cv2.warpAffine(rgb, affine, rgb.shape[1::-1], flags=cv2.INTER_CUBIC)
        noisy = np.clip(frame + random.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8)
        encoded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
        face = found(finder.landmarks(decoded, face))
        raw.append(face.landmarks.astype(np.float64))
        affines.append(affine)
    return Sequence(np.stack(raw), np.stack(affines), seconds)


def found(face: Face | None) -> Face:
    if face is None:
        raise RuntimeError("the face was lost: the sequence cannot be measured")
    return face


def unfiltered(landmarks: Points, seconds: NDArray[np.float64]) -> Points:
    return landmarks


def one_euro(
    landmarks: Points,
    seconds: NDArray[np.float64],
    min_cutoff: float,
    beta: float,
    size: float | None = None,
) -> Points:
    """The one-euro filter (Casiez et al., 2012), every coordinate by itself, in face sizes."""
    size = size or face_size(landmarks[0])
    smoothed = [landmarks[0] / size]
    speed = np.zeros_like(landmarks[0])
    for i in range(1, len(landmarks)):
        dt, x = seconds[i] - seconds[i - 1], landmarks[i] / size
        raw_speed = (x - landmarks[i - 1] / size) / dt
        speed += _low_pass(1.0, dt) * (raw_speed - speed)
        cutoff = min_cutoff + beta * np.abs(speed)
        smoothed.append(smoothed[-1] + _low_pass(cutoff, dt) * (x - smoothed[-1]))
    return np.stack(smoothed) * size


def _low_pass(cutoff: float | Points, dt: float) -> Points:
    """The share of a new value that a first-order low pass at `cutoff` hertz takes in."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff) * dt)), np.float64)


def one_euro_split(
    landmarks: Points, seconds: NDArray[np.float64], min_cutoff: float, beta: float
) -> Points:
    """One-euro on the rigid motion and, apart, on the shape in the head's own frame."""
    size = face_size(landmarks[0])
    reference = landmarks[0]
    affines = np.stack(
        [similarity_transform(reference[RIGID_POINTS], x[RIGID_POINTS]) for x in landmarks]
    )
    anchors = np.stack([warp_points(a, reference[RIGID_POINTS]) for a in affines]).astype(float)
    still = [warp_points(invert_affine(a), x) for a, x in zip(affines, landmarks, strict=True)]
    shapes = np.stack(still).astype(np.float64)
    anchors = one_euro(anchors, seconds, min_cutoff, beta, size)
    shapes = one_euro(shapes, seconds, min_cutoff, beta, size)
    moved = [similarity_transform(reference[RIGID_POINTS], a) for a in anchors]
    return np.stack([warp_points(m, s) for m, s in zip(moved, shapes, strict=True)])


def bilateral(landmarks: Points, seconds: NDArray[np.float64], smoothing: Smoothing) -> Points:
    """The filter that the tracker uses, with the tracker's lookahead."""
    smoothed = []
    for i in range(len(landmarks)):
        near = np.abs(seconds - seconds[i]) <= smoothing.window
        near[i + LOOKAHEAD + 1 :] = False
        rows = np.flatnonzero(near)
        centre = int(np.flatnonzero(rows == i)[0])
        smoothed.append(smooth_landmarks(landmarks[rows], seconds[rows], centre, smoothing))
    return np.stack(smoothed).astype(np.float64)


def with_blinks(landmarks: Points, seconds: NDArray[np.float64]) -> Points:
    """Close the eyes for a moment once a second: 80 ms down, 40 ms closed, 130 ms up."""
    phase = np.mod(seconds, 1.0)
    closed = np.interp(phase, [0.40, 0.48, 0.52, 0.65], [0, 1, 1, 0])
    moved = landmarks.copy()
    for eye in (mesh.RIGHT_EYE, mesh.LEFT_EYE):
        upper, lower = list(eye[1:8]), list(eye[9:][::-1])
        moved[:, upper] += 0.9 * closed[:, None, None] * (landmarks[:, lower] - landmarks[:, upper])
    return moved


def with_speech(landmarks: Points, seconds: NDArray[np.float64]) -> Points:
    """Open the mouth four times a second, the lower lip down by an eighth of the face's size."""
    size = face_size(landmarks[0])
    opening = 0.5 * (1 - np.cos(2 * np.pi * 4 * seconds)) * size / 16
    moved = landmarks.copy()
    lower = [*mesh.OUTER_LIPS[1:10], *mesh.INNER_LIPS[1:10]]
    moved[:, lower, 1] += opening[:, None]
    return moved


def rms(errors: Points, scale: float) -> float:
    return float(1000 * np.sqrt((errors**2).sum(axis=2).mean()) / scale)


def follow(
    measure: Callable[[Points], float], truth: Points, smoothed: Points
) -> tuple[float, float]:
    """How well a movement came through: its amplitude kept, and the correlation with the truth."""
    wanted = np.array([measure(x) for x in truth])
    got = np.array([measure(x) for x in smoothed])
    amplitude = np.ptp(got) / np.ptp(wanted)
    return float(amplitude), float(np.corrcoef(wanted, got)[0, 1])


def table_row(name: str, apply: Filter, sequences: dict[str, list[Sequence]]) -> str:
    cells = [name]
    for motion in ("still", "hand-held", "slow", "fast"):
        errors = []
        for sequence in sequences[motion]:
            smoothed = apply(sequence.raw, sequence.seconds)
            errors.append(rms(smoothed - sequence.truth(), face_size(sequence.raw[0])))
        cells.append(f"{np.mean(errors):.2f}")
    for add, measure in ((with_blinks, eye_opening), (with_speech, mouth_opening)):
        results = []
        for motion in ("still", "fast"):
            for sequence in sequences[motion]:
                truth = add(sequence.truth(), sequence.seconds)
                smoothed = apply(add(sequence.raw, sequence.seconds), sequence.seconds)
                results.append(follow(measure, truth, smoothed))
        amplitude, correlation = np.mean(results, axis=0)
        cells += [f"{100 * amplitude:.0f} %", f"{correlation:.3f}"]
    return "| " + " | ".join(cells) + " |"


def filters() -> dict[str, Filter]:
    chosen: dict[str, Filter] = {"none": unfiltered}
    for cutoff, beta in ((1.0, 1.0), (1.0, 10.0), (0.5, 30.0), (1.0, 100.0), (1.0, 1000.0)):
        chosen[f"one-euro {cutoff} Hz, beta {beta}"] = partial(
            one_euro, min_cutoff=cutoff, beta=beta
        )
    for cutoff, beta in ((1.0, 10.0), (1.0, 100.0), (1.0, 1000.0)):
        chosen[f"one-euro split {cutoff} Hz, beta {beta}"] = partial(
            one_euro_split, min_cutoff=cutoff, beta=beta
        )
    for seconds in (0.05, 0.1, 0.15):
        for motion, shape in ((0.002, 0.002), (0.004, 0.0025), (0.004, 0.005), (0.01, 0.01)):
            name = f"two-sided {seconds} s, motion {motion}, shape {shape}"
            chosen[name] = partial(
                bilateral, smoothing=Smoothing(seconds=seconds, motion=motion, shape=shape)
            )
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=120)
    n_frames = parser.parse_args().frames
    detector, finder = BlazeFaceDetector(), AttentionMeshFinder()
    names = ("still", "hand-held", "slow", "fast")
    sequences = {
        name: [record(rgb, name, n_frames, detector, finder) for rgb in photographs().values()]
        for name in names
    }
    print(
        "| filter | still | hand-held | slow | fast | blink kept | blink corr. "
        "| speech kept | speech corr. |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, apply in filters().items():
        print(table_row(name, apply, sequences), flush=True)


if __name__ == "__main__":
    main()
