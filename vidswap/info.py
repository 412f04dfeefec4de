"""What a clip or picture is, and who is in it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.faces.pose import head_pose
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.media.marks import mark_lines
from vidswap.media.probing import probe
from vidswap.media.sampling import spaced_frames
from vidswap.people.embedding import FaceEmbedder, as_array, face_size
from vidswap.runtime.text import escaped, first_lines, shown, word

N_SAMPLES = 12  # frames looked at


@dataclass(eq=False)
class Person:
    """One person of a clip, over the sampled frames in which the face was found."""

    embedding: NDArray[np.float32]
    frames: int
    face_pixels: list[float]
    yaw: list[float]

    def to_dict(self, n_frames: int) -> dict[str, Any]:
        return {
            "share_of_frames": round(self.frames / n_frames, 3),
            "face_pixels": round(float(np.median(self.face_pixels))),
            "yaw_degrees": [round(min(self.yaw)), round(max(self.yaw))],
        }


def describe(path: Path) -> dict[str, Any]:
    """The facts of a file as plain values; people are distinguished by the identity encoder.

    Raises InputNotFoundError, NotAVideoError.
    """
    facts = asdict(probe(path))
    facts["path"] = str(path)
    facts["time_base"] = str(facts["time_base"])
    shape = facts["sample_aspect_ratio"]
    facts["sample_aspect_ratio"] = f"{shape.numerator}:{shape.denominator}"
    people: list[Person] = []
    n_frames = 0
    with closing(FaceEmbedder.load()) as embedder:
        for frame in spaced_frames(path, N_SAMPLES):
            n_frames += 1
            seen: list[Person] = []
            for face in embedder.faces(frame.rgb):
                embedding = as_array(embedder.embed(frame.rgb, face)[1])
                # Two faces of one frame are two people, however alike.
                person = _known(people, embedding, seen)
                seen.append(person)
                person.frames += 1
                person.face_pixels.append(face_size(face))
                person.yaw.append(head_pose(face.landmarks).yaw)
    people.sort(key=lambda p: p.frames * float(np.median(p.face_pixels)), reverse=True)
    facts["sampled_frames"] = n_frames
    facts["people"] = [person.to_dict(n_frames) for person in people]
    return facts


def describe_as_text(facts: dict[str, Any]) -> str:
    """`describe`'s facts for people to read."""
    lines = [
        f"{escaped(facts['path'])}: {facts['kind']}, {facts['container']}, "
        f"{facts['width']}x{facts['height']}, {facts['pixel_format']}"
    ]
    if facts["kind"] != "picture":
        lines += _clip_lines(facts)
    streams = enumerate(facts["streams"])
    lines += first_lines(f"  stream {n}: {_stream_text(s)}" for n, s in streams)
    for index, person in enumerate(facts["people"], 1):
        low, high = person["yaw_degrees"]
        lines.append(
            f"  person {index}: in {person['share_of_frames']:.0%} of {facts['sampled_frames']} "
            f"sampled frames, face {person['face_pixels']} pixels, yaw {low} to {high} degrees"
        )
    if not facts["people"]:
        lines.append(f"  no face in {facts['sampled_frames']} sampled frames")
    if facts["marks"]:
        lines += mark_lines(facts["marks"])
    else:
        lines.append("  not marked as made by vidswap")
    return "\n".join(lines)


def _clip_lines(facts: dict[str, Any]) -> list[str]:
    """How a clip's picture runs and what it is like, two lines."""
    mirrored = " and mirrored" if facts["mirrored"] else ""
    like = [f"{facts['bit_depth']} bits", facts["scan"], _light_text(facts["light"])]
    if facts["sample_aspect_ratio"] != "1:1":
        like.append(f"pixels {facts['sample_aspect_ratio']}")
    like.append(f"begins at {facts['start']:.3f} s")
    n_chapters = facts["chapters"]
    like.append("1 chapter" if n_chapters == 1 else f"{n_chapters or 'no'} chapters")
    return [
        f"  {facts['frames']} frames ({facts['frames_from']}), {facts['fps']:.3f} frames/s, "
        f"{facts['duration']:.2f} s, rotation {facts['rotation']} degrees{mirrored}",
        f"  {', '.join(like)}",
    ]


def _light_text(light: dict[str, Any]) -> str:
    """The dynamic range, and in brackets the metadata that come with it."""
    known = ["mastering display"] if light["mastering_display"] else []
    if light["light_level"]:
        greatest, mean = light["light_level"]
        known.append(f"light level {greatest}, mean {mean} cd/m2")
    known += light["dynamic"]
    transfer = f"HDR ({light['transfer']})" if light["transfer"] else "standard dynamic range"
    return f"{transfer} with {' and '.join(known)}" if known else transfer


def _stream_text(stream: dict[str, Any]) -> str:
    """A stream in words: what it is, and what it says of itself."""
    kind = f"{stream['kind']} {word(stream['codec'])}"
    details = [f"{kind} ({stream['role']})" if stream["role"] else kind]
    if stream["channels"]:
        details.append(f"{stream['channels']} channel{'s' if stream['channels'] > 1 else ''}")
    details += [word(stream["language"])] if stream["language"] not in (None, "und") else []
    details += [shown(stream["title"])] if stream["title"] else []
    if stream["start"]:
        details.append(f"begins at {stream['start']:.3f} s")
    return ", ".join(details)


def _known(people: list[Person], embedding: NDArray[np.float32], seen: list[Person]) -> Person:
    """The person, none of `seen`, that an embedding belongs to; a new one if nobody is near."""

    def distance(person: Person) -> float:
        return float(np.linalg.norm(person.embedding - embedding))

    nearest = min((p for p in people if p not in seen), key=distance, default=None)
    if nearest is not None and distance(nearest) < SAME_PERSON_DISTANCE:
        return nearest
    people.append(Person(embedding, 0, [], []))
    return people[-1]
