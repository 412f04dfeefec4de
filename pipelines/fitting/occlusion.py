"""Fit the net that finds occluders in front of a face (`vidswap/faces/occlusion.py`).

    python -m pipelines.fitting.occlusion FACES CACHE [-o FILE]

FACES is a dataset as `vidswap dataset build` writes it, CACHE the cache of a training run on it.
Occluders are drawn on faces that wear no glasses; a third of the faces get none. The photographs'
own hair and hats are labelled by their colour (`vidswap/faces/skin.py`): drawn ones alone teach a
net to find what is drawn. Prints how much is found on held-out people.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from pipelines.fitting.bare_faces import bare_faces, eyewear_score
from vidswap.blending.mask import face_mask
from vidswap.faces import mesh
from vidswap.faces.occlusion import GLASSES, OTHER, SIZE, WEIGHTS, OcclusionNet, as_read
from vidswap.faces.skin import uncovered_part
from vidswap.runtime.process import configure_process
from vidswap.training.augmentation import DRAWINGS, add_occluder, degrade
from vidswap.training.data.face_shards import (
    cached_faces,
    read_index,
    read_landmarks,
    whole_meshes,
)

BATCH, STEPS, RATE = 32, 1800, 3e-3
BARE, WITH_GLASSES = 0.35, 0.4  # shares of the faces; the rest gets something else
OUTSIDE = 0.05  # weight of an error outside the face
PATH = click.Path(path_type=Path)
Example = tuple[Tensor, NDArray[np.float32], NDArray[np.float32]]


class Drawer:
    """Faces of a dataset with something drawn before them."""

    def __init__(self, faces: Path, cache: Path) -> None:
        self.pictures = cached_faces(faces, cache, 256)
        self.meshes = whole_meshes(*read_landmarks(faces))
        self.held_out = np.array([record.held_out for record in read_index(faces)])
        features = torch.from_numpy(np.load(cache / "id-dlib.npy", mmap_mode="r")[:].copy())
        scores = np.array(list(map(eyewear_score, tqdm(self.pictures), self.meshes)))
        self.bare = bare_faces(scores, features, ~self.held_out)

    def rows(self, held_out: bool) -> NDArray[np.int64]:
        """The faces that surely wear no glasses."""
        return np.flatnonzero((self.held_out == held_out) & self.bare)

    def example(self, row: int, random: np.random.Generator) -> Example:
        """A face as the net reads it (1, 3, 128, 128), the answer and its weight (2, 128, 128)."""
        picture, landmarks = self._moved(row, random)
        seen = uncovered_part(picture, landmarks)
        picture = np.asarray(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
        mask = np.zeros((2, SIZE, SIZE), np.float32)
        drawn = random.random()
        if drawn >= BARE:
            glasses = drawn < BARE + WITH_GLASSES
            kinds = [kind for kind in DRAWINGS if ("glasses" in kind) == glasses]
            kind = kinds[int(random.random() < 0.2)] if glasses else str(random.choice(kinds))
            picture, alpha = add_occluder(picture, landmarks, random, kind)
            mask[GLASSES if glasses else OTHER] = alpha
        if random.random() < 0.6:
            picture = degrade(picture, random)
        inside = face_mask(landmarks[list(mesh.FACE_OVAL)], SIZE)
        weight = np.repeat((OUTSIDE + inside)[None], 2, axis=0)
        # The photograph's own hair and hats, where their colour is conclusive.
        weight[OTHER] *= np.maximum(np.abs(2.0 * seen - 1.0), mask[OTHER])
        mask[OTHER] = np.maximum(mask[OTHER], 1.0 - seen)
        return as_read([picture]), mask, weight

    def _moved(
        self, row: int, random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        turn = cv2.getRotationMatrix2D(
            (127.5, 127.5), random.uniform(-8, 8), random.uniform(0.9, 1.1)
        )
        turn[:, 2] += random.uniform(-6, 6, 2)
        picture = cv2.warpAffine(
            self.pictures[row], turn, (256, 256), borderMode=cv2.BORDER_REFLECT_101
        )
        picture = cv2.convertScaleAbs(picture * random.uniform(0.75, 1.25))
        landmarks = self.meshes[row] @ turn[:, :2].T + turn[:, 2]
        return picture.astype(np.uint8), landmarks.astype(np.float32)

    def batch(self, rows: NDArray[np.int64], seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, answers and weights of examples; always the same for a seed."""
        random = np.random.default_rng(seed)
        made = [self.example(int(row), random) for row in random.choice(rows, BATCH)]
        pictures, masks, weights = zip(*made, strict=True)
        return (
            torch.cat(pictures),
            torch.from_numpy(np.stack(masks)),
            torch.from_numpy(np.stack(weights)),
        )


def loss_of(logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy, and what of the masks' own area is missed or too much (Dice)."""
    entropy = F.binary_cross_entropy_with_logits(logits, masks, weights)
    found = logits.sigmoid()
    common = 2.0 * (weights * found * masks).sum(dim=(2, 3)) + 20.0
    whole = (weights * (found + masks)).sum(dim=(2, 3)) + 20.0
    return entropy + 0.1 * (1.0 - common / whole).mean()


@click.command()
@click.argument("faces", type=PATH)
@click.argument("cache", type=PATH)
@click.option("-o", "--output", type=PATH, default=WEIGHTS)
@click.option("--steps", type=int, default=STEPS)
def main(faces: Path, cache: Path, output: Path, steps: int) -> None:
    """Fit, print how much is found, and write the weights as fp16."""
    configure_process()
    torch.manual_seed(0)
    drawer = Drawer(faces, cache)
    net = OcclusionNet().to(memory_format=torch.channels_last)
    rows = drawer.rows(held_out=False)
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    with ThreadPoolExecutor(2) as pool:
        ahead = deque(pool.submit(drawer.batch, rows, 1 + i) for i in range(4))
        for step in (bar := tqdm(range(steps), mininterval=10)):
            pictures, masks, weights = ahead.popleft().result()
            ahead.append(pool.submit(drawer.batch, rows, 5 + step))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(pictures.contiguous(memory_format=torch.channels_last))
            loss = loss_of(logits.float(), masks, weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.set_postfix(loss=f"{float(loss.detach()):.4f}")
        for waiting in ahead:
            waiting.cancel()
    net.eval()
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, output)
    report(net, drawer)


def report(net: OcclusionNet, drawer: Drawer) -> None:
    """Print precision and recall of pixels inside held-out faces."""
    rows = drawer.rows(held_out=True)
    batches = [drawer.batch(rows, 10**9 + seed) for seed in range(8)]
    for channel, name in ((GLASSES, "glasses"), (OTHER, "other things")):
        hits = found = there = 0.0
        for pictures, masks, weights in batches:
            with torch.inference_mode():
                answer = net(pictures).sigmoid()[:, channel] > 0.5
            inside, wanted = weights[:, channel] > 0.5, masks[:, channel] > 0.5
            hits += float((answer & wanted & inside).sum())
            found += float((answer & inside).sum())
            there += float((wanted & inside).sum())
        click.echo(f"{name}: precision {hits / found:.3f}, recall {hits / there:.3f} of pixels")


if __name__ == "__main__":
    main()
