"""What a clip or picture is, and who is in it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.source import SourceReader, face_size
from vidswap.faces.pose import head_pose
from vidswap.identity.dlib_resnet import SAME_PERSON_DISTANCE
from vidswap.media.probe import probe
from vidswap.media.sampling import sample_frames

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
    """The facts of a file as plain values; people are told apart by the identity encoder.

    Raises InputNotFoundError, NotAVideoError.
    """
    facts = asdict(probe(path))
    facts["path"] = str(path)
    facts["time_base"] = str(facts["time_base"])
    frames = sample_frames(path, N_SAMPLES)
    people: list[Person] = []
    with closing(SourceReader.load()) as reader:
        for frame in frames:
            seen: list[Person] = []
            for face in reader.faces(frame.rgb):
                embedding = reader.embed(frame.rgb, face)[1].embedding[0].numpy()
                # Two faces of one frame are two people, however alike.
                person = _known(people, embedding, seen)
                seen.append(person)
                person.frames += 1
                person.face_pixels.append(face_size(face))
                person.yaw.append(head_pose(face.landmarks).yaw)
    people.sort(key=lambda p: p.frames * float(np.median(p.face_pixels)), reverse=True)
    facts["sampled_frames"] = len(frames)
    facts["people"] = [person.to_dict(len(frames)) for person in people]
    return facts


def describe_as_text(facts: dict[str, Any]) -> str:
    """`describe`'s facts for people to read."""
    lines = [
        f"{facts['path']}: {facts['kind']}, {facts['container']}, "
        f"{facts['width']}x{facts['height']}, {facts['pixel_format']}"
    ]
    if facts["kind"] == "video":
        lines.append(
            f"  {facts['frames']} frames ({facts['frames_from']}), {facts['fps']:.3f} frames/s, "
            f"{facts['duration']:.2f} s, rotation {facts['rotation']} degrees"
        )
    for stream in facts["streams"]:
        details = [stream["kind"], stream["codec"]]
        details += [stream["language"]] if stream["language"] else []
        lines.append(f"  stream: {' '.join(details)}")
    for index, person in enumerate(facts["people"], 1):
        low, high = person["yaw_degrees"]
        lines.append(
            f"  person {index}: in {person['share_of_frames']:.0%} of {facts['sampled_frames']} "
            f"sampled frames, face {person['face_pixels']} pixels, yaw {low} to {high} degrees"
        )
    if not facts["people"]:
        lines.append(f"  no face in {facts['sampled_frames']} sampled frames")
    if facts["marks"]:
        lines += [f"  marked: {key} = {value}" for key, value in facts["marks"].items()]
    else:
        lines.append("  not marked as made by vidswap")
    return "\n".join(lines)


def _known(people: list[Person], embedding: NDArray[np.float32], seen: list[Person]) -> Person:
    """The person, none of `seen`, that an embedding belongs to; a new one if nobody is near."""

    def distance(person: Person) -> float:
        return float(np.linalg.norm(person.embedding - embedding))

    nearest = min((p for p in people if p not in seen), key=distance, default=None)
    if nearest is not None and distance(nearest) < SAME_PERSON_DISTANCE:
        return nearest
    people.append(Person(embedding, 0, [], []))
    return people[-1]
