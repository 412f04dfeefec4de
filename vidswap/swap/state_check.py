"""Whether a state that was read is one that a swap can go on from: its types, shapes and bounds.

A state lies beside the output, so it may hold anything that pickle can write of a state's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from vidswap.blending.reference import ReferenceMoment
from vidswap.blending.reshaping import ShapeMoment
from vidswap.blending.temporal_smoothing import SmoothedMoment
from vidswap.faces.cuts import _Glance
from vidswap.faces.detection import Face
from vidswap.faces.mesh import N_LANDMARKS
from vidswap.faces.shape import ShapeModel
from vidswap.faces.track import IdentityMemory, IdentitySample, Observation, Track
from vidswap.identity.dlib_resnet import EMBEDDING_SIZE
from vidswap.swap.options import SwapCounts

MOST_NESTING = 12
MOST_ITEMS = 1_000_000
_LATEST = 2**62  # ticks
_MOST_FRAMES = 2**40
_LONGEST_TEXT = 10_000
_MOST_SAMPLES = 16
_FOLLOWING = {"held", "tracks", "gone", "n_frames", "n_tracks", "last_detection", "cuts"}


def is_sound(state: Any) -> bool:
    """Whether all that a SwapState holds is of the kind it says. Takes any object of that class."""
    try:
        return _is_sound(state) and _is_plain(vars(state), [MOST_ITEMS])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return False


def _is_sound(state: Any) -> bool:
    held, following = state.held, state.following
    return (
        _whole(state.next_index)
        and _is_counts(state.counts)
        and (state.damage is None or isinstance(state.damage, str))
        and isinstance(held, tuple)
        and all(_whole(pts, -_LATEST, _LATEST) and _whole(crc, 0, 2**32) for pts, crc in held)
        and isinstance(following, Mapping)
        and (_is_following(following, len(held)) if held else not following)
        and _all_of(state.smoothing, lambda m: _has_index(m, SmoothedMoment))
        and _all_of(state.shapes, _is_shape)
        and _all_of(state.references, lambda m: _has_index(m, ReferenceMoment))
    )


def _is_counts(counts: Any) -> bool:
    if not isinstance(counts, SwapCounts):
        return False
    totals = [each.name for each in fields(SwapCounts) if each.name != "spans"]
    return all(_whole(getattr(counts, name)) for name in totals) and _is_spans(counts.spans)


def _is_spans(spans: Any) -> bool:
    """Times by person, as `SwapCounts` has them."""
    return isinstance(spans, dict) and all(
        isinstance(person, str)
        and isinstance(times, list)
        and all(isinstance(span, list) and len(span) == 2 and all(map(_real, span))
                for span in times)
        for person, times in spans.items()
    )  # fmt: skip


def _is_following(following: Mapping[str, Any], n_held: int) -> bool:
    """The tracker's state; other trackers' are known by other names."""
    if set(following) != _FOLLOWING:
        return False
    held, tracks = following["held"], [*following["tracks"], *following["gone"]]
    return (
        len(held) == n_held
        and all(len(h) == 3 and _whole(h[0]) and _whole(h[1]) and _real(h[2]) for h in held)
        and all(_is_track(track) for track in tracks)
        and _whole(following["n_frames"])
        and _whole(following["n_tracks"])
        and (following["last_detection"] is None or _real(following["last_detection"]))
        and _is_cuts(following["cuts"])
    )


def _is_cuts(given: Any) -> bool:
    last, motion = given["last"], given["motion"]
    is_glance = last is None or (
        isinstance(last, _Glance)
        and all(isinstance(getattr(last, each.name), np.ndarray) for each in fields(_Glance))
    )
    return is_glance and isinstance(motion, list) and all(_real(value) for value in motion)


def _is_track(track: Any) -> bool:
    if not isinstance(track, Track) or not isinstance(track.observations, dict):
        return False
    return (
        track.last_seen in track.observations
        and isinstance(track.track_id, int)
        and _whole(track._n_found)
        and isinstance(track.appearance, np.ndarray)
        and _is_memory(track.who)
        and all(_whole(n) and _is_observation(o) for n, o in track.observations.items())
    )


def _is_memory(given: Any) -> bool:
    if not isinstance(given, IdentityMemory) or not isinstance(given.doubtful, list):
        return False
    samples = [*given.doubtful, *([] if given.last is None else [given.last])]
    return (
        (given.total is None or _is_embedding(given.total))
        and _real(given.weight)
        and _whole(given.count)
        and _whole(given.agreed, -1)
        and (given.appearance is None or isinstance(given.appearance, np.ndarray))
        and len(samples) <= _MOST_SAMPLES
        and all(
            isinstance(sample, IdentitySample)
            and _whole(sample.number)
            and _real(sample.seconds)
            and _is_embedding(sample.embedding)
            and _real(sample.weight)
            for sample in samples
        )
    )


def _is_embedding(given: Any) -> bool:
    right = isinstance(given, np.ndarray) and given.shape == (EMBEDDING_SIZE,)
    return right and given.dtype.kind == "f" and bool(np.isfinite(given).all())


def _is_observation(given: Any) -> bool:
    if not isinstance(given, Observation) or not isinstance(given.face, Face):
        return False
    points = given.face.landmarks
    return (
        _real(given.seconds)
        and isinstance(given.appearance, np.ndarray)
        and isinstance(points, np.ndarray)
        and points.shape == (N_LANDMARKS, 2)
        and bool(np.isfinite(points).all())
    )


def _all_of(given: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(given, Mapping) and all(
        isinstance(track, int) and is_right(moment) for track, moment in given.items()
    )


def _is_shape(moment: Any) -> bool:
    if not _has_index(moment, ShapeMoment) or not _whole(moment.frames, 1):
        return False
    mean, basis = moment.mean, ShapeModel.load().basis
    fits = isinstance(mean, np.ndarray) and mean.shape == (basis.shape[1],)
    return fits and bool(np.isfinite(mean).all())


def _has_index(moment: Any, kind: type[SmoothedMoment | ReferenceMoment | ShapeMoment]) -> bool:
    has_all = isinstance(moment, kind) and all(hasattr(moment, f.name) for f in fields(kind))
    return has_all and _whole(moment.index)


def _is_plain(value: Any, left: list[int], depth: int = 0) -> bool:
    """Numbers, text, arrays of numbers, and what is made of them, not without end."""
    left[0] -= 1
    if depth > MOST_NESTING or left[0] < 0:
        return False
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if value is None or isinstance(value, bool | int | float | np.number | np.bool_):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_plain(v, left, depth + 1) for v in value)
    if is_dataclass(value):
        return _is_plain([getattr(value, each.name) for each in fields(value)], left, depth + 1)
    return isinstance(value, Track) and _is_plain(vars(value), left, depth + 1)


def _whole(value: Any, least: int = 0, most: int = _MOST_FRAMES) -> bool:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and least <= value <= most


def _real(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))
