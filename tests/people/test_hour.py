"""The first pass over an hour's film of 200 shots, at few frames a second: memory stays flat."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import nn

from tests.media.clips import make_clip
from vidswap.animation.clip import find_face, load_portrait
from vidswap.faces.detection import Detection, Face, Image
from vidswap.identity.encoder import IdEmbedding
from vidswap.people.embedding import FaceEmbedder
from vidswap.swap.first_pass import find_people

SIZE, FPS = (96, 72), 2.5
SHOTS, SHOT = 200, 45  # shots, and frames of each
REPEATS = 20  # of a tenth of the film's shots
GROWTH = 24.0  # MiB that may be added between the first tenth of the film and its end


class Faces:
    """Nets that find two faces in every frame, side by side, whatever it shows."""

    def __init__(self) -> None:
        photo = load_portrait("clara")
        mesh = find_face(photo).landmarks
        unit = (mesh - mesh.min(axis=0)) / np.ptp(mesh, axis=0).max()
        self._meshes = [np.float32(34 * unit + [left, 16]) for left in (8, 54)]

    def detect(self, rgb: Image) -> list[Detection]:
        boxes = [np.concatenate([m.min(axis=0), m.max(axis=0)]) for m in self._meshes]
        eyes = np.float32([[8, 8], [20, 8]])
        return [Detection(box, box[:2] + eyes, 0.9) for box in boxes]

    def landmarks(self, rgb: Image, region: Detection | Face) -> Face:
        mesh = min(self._meshes, key=lambda m: abs(m[:, 0].min() - region.box[0]))
        return Face(mesh, np.zeros(478, np.float32), 0.99)

    def close(self) -> None:
        """Nothing is held."""


class Colours(nn.Module):
    """Embeds a crop by its mean colour: each shot has its own two people."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.randn(3, 128, generator=torch.Generator().manual_seed(1)))

    def forward(self, crops: torch.Tensor) -> IdEmbedding:
        embedding = nn.functional.normalize(crops.mean(dim=(2, 3)) @ self.mixing)
        return IdEmbedding(embedding, embedding, (embedding,))


def picture(index: int, *_: object) -> np.ndarray:
    """A shot has one texture, which moves a little, and a colour on either side."""
    shot = index // SHOT
    random = np.random.default_rng(shot)
    texture = np.kron(random.integers(20, 120, (9, 12)), np.ones((8, 8)))[..., None]
    colours = random.integers(0, 120, (2, 3))
    sides = np.repeat(colours, SIZE[0] // 2, axis=0)[None]
    return np.clip(np.roll(texture, index % 3, axis=1) + sides, 0, 255).astype(np.uint8)


def film(path: Path) -> Path:
    """An hour: a tenth of the shots is encoded, and copied without coding as often as needed."""
    part = make_clip(
        path.with_name("part.mp4"), picture=picture, size=SIZE, frames=SHOTS // REPEATS * SHOT,
        rate=Fraction(FPS), options={"crf": "20", "preset": "ultrafast", "bf": "0"},
    )  # fmt: skip
    with av.open(str(path), "w") as output:
        copied = None
        for repeat in range(REPEATS):
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                copied = copied or output.add_stream_from_template(stream)
                length = round(SHOTS // REPEATS * SHOT / FPS / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = (
                        packet.pts + repeat * length, packet.dts + repeat * length,
                    )  # fmt: skip
                    packet.stream = copied
                    output.mux(packet)
    return path


def resident() -> float:
    """MiB of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_stays_flat_over_an_hour_of_200_shots(tmp_path: Path) -> None:
    faces, held = Faces(), {}

    def watch(done: int, expected: int) -> None:
        if done % (SHOTS * SHOT // 10) == 0:
            held[done] = resident()

    embedder = FaceEmbedder(faces, faces, Colours())
    tracks = find_people(
        film(tmp_path / "film.mp4"), tmp_path / "cast", embedder=embedder, progress=watch
    )
    print({done: round(mib) for done, mib in held.items()})
    assert tracks.clip.frames == SHOTS * SHOT and tracks.clip.seconds > 3400.0
    assert len(tracks.shots) == SHOTS and len(tracks.tracks) == 2 * SHOTS
    amounts = list(held.values())
    assert len(amounts) == 10 and max(amounts[1:]) - amounts[0] < GROWTH, held
