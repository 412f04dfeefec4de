"""Tracking: the same person keeps the same track from frame to frame, and short misses are bridged.

A track follows its face with the landmark net alone, looking where the face was in the frame
before. The detector runs a few times a second, at cuts, and whenever a face is lost. Frames are
answered a little late: a face that is lost and found again meanwhile is filled in between, a face
that the detector finds late is followed back to where it came in, and landmarks are smoothed with
the frames on both sides.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vidswap.faces.align import five_points, similarity_transform
from vidswap.faces.cuts import CutDetector
from vidswap.faces.detection import (
    Detection,
    Face,
    FaceDetector,
    FloatArray,
    Image,
    LandmarkFinder,
    box_overlap,
)
from vidswap.faces.smoothing import Smoothing, smooth_landmarks

DETECT_EVERY = 0.2  # seconds between two runs of the detector while all faces are followed
MAX_BRIDGE = 0.3  # seconds for which a lost face is waited for
MAX_DELAY = 9  # frames by which an answer is late at most; bounds the frames held in memory
MIN_FOUND = 3  # frames in which a face must be found unless its shot is shorter

SAME_FACE_DISTANCE = 0.25  # mean landmark distance, in face sizes, below which two meshes are one
MAX_JUMP = 0.5  # face sizes a face can move from one frame to the next
MAX_GROWTH = 1.5  # factor by which a face's size can change from one frame to the next
MAX_REUNION_COST = 1.5  # above it a face found after a gap is taken for another person


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face in one frame of a track.

    `landmarks` (478, 2) float32 pixels are smoothed over time; `face` is as the net found it, or
    interpolated where `detected` is false. A person keeps `track_id` until lost or a cut.
    """

    track_id: int
    face: Face
    landmarks: FloatArray
    detected: bool


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """All faces of the frame that was given to the tracker with this `index`."""

    index: int
    faces: list[TrackedFace]
