"""Fit the net that finds occluders in front of a face (`vidswap/faces/occlusion.py`).

    python -m pipelines.fitting.occlusion FACES CACHE [-o FILE] [--start-from FILE]

FACES is a dataset as `vidswap dataset build` writes it, CACHE the cache of a training run on it, in
which `pipelines/fitting/hands.py` has told where hands are. Occluders are drawn on faces that wear
no glasses, and hands cut out of other photographs laid over them; a third of the faces get none.
The photographs' own hair and hats are labelled by their colour (`vidswap/faces/skin.py`): drawn
ones alone teach a net to find what is drawn. Prints how much is found on held-out people.
"""

from __future__ import annotations

import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from pipelines.fitting.bare_faces import bare_faces, eyewear_score
from pipelines.fitting.hands import Hand, cut_out, found_hands, laid_over
from vidswap.blending.mask import face_mask
from vidswap.faces import mesh
from vidswap.faces.occlusion import GLASSES, OTHER, READ, WEIGHTS, OcclusionNet, as_read
from vidswap.faces.skin import uncovered_part
from vidswap.runtime.process import configure_process
from vidswap.training.augmentation import (
    DRAWINGS,
    MAX_SOFTNESS,
    add_occluder,
    degrade,
    motion_kernel,
)
from vidswap.training.data.face_shards import (
    cached_faces,
    read_excluded,
    read_index,
    read_landmarks,
    whole_meshes,
)
from vidswap.training.occluders.layer import Scene, compose
from vidswap.training.occluders.worn import glasses, sunglasses, wire_glasses

BATCH, STEPS, RATE = 32, 1800, 3e-3
# How often what is shown: nothing, glasses, a photograph's own hand, that of another, or a drawing.
SHOWN = {"nothing": 0.3, "glasses": 0.34, "own hand": 0.09, "hand": 0.13, "drawing": 0.14}
WIRE, DARK = 0.55, 0.15  # shares of glasses
MOVING, LENGTH = 0.35, (4.0, 28.0)  # share of the things before a face that move; pixels
HELD = ("microphone", "hand", "blob")
OUTSIDE = 0.05  # weight of an error outside the face
# Share of a pixel that is frame, from which on the answer is more, and all: half a wire is left out
# whole.
FRAME = (0.15, 0.5)
NEAR = 41  # pixels around a photograph's hand in which there is no other that was not found
HANDS_HELD_OUT = 0.15  # share of the people with hands that show how much is found
MIDDLE, MOST_OF_FACE = 0.6, 0.6  # of a face: what covers more of its middle is no hand
LEAST_OF_FACE = 0.015  # what covers less of it is not before it
PATH = click.Path(path_type=Path)
Plane = NDArray[np.float32]
Example = tuple[Tensor, Plane, Plane]
Moved = tuple[NDArray[np.uint8], Plane, NDArray[np.float64]]


class Drawer:
    """Faces of a dataset with something before them."""

    def __init__(self, faces: Path, cache: Path) -> None:
        self.pictures = cached_faces(faces, cache, READ)
        self.meshes = whole_meshes(*read_landmarks(faces))
        records = read_index(faces)
        self.people = [record.identity or record.file for record in records]
        self.held_out = np.array([record.held_out for record in records])
        features = torch.from_numpy(np.load(cache / "id-dlib.npy", mmap_mode="r")[:].copy())
        scores = np.array(list(map(eyewear_score, tqdm(self.pictures), self.meshes)))
        self.bare = bare_faces(scores, features, ~self.held_out)
        found = found_hands(cache)
        self.unused = read_excluded(faces, records) | np.isin(np.arange(len(records)), list(found))
        self.hands: dict[bool, list[list[Hand]]] = {
            held_out: self._people_with_hands(found, held_out) for held_out in (False, True)
        }
        self.before_faces = {
            held_out: [own for hands in people if (own := list(filter(self._before_face, hands)))]
            for held_out, people in self.hands.items()
        }

    def rows(self, held_out: bool) -> NDArray[np.int64]:
        """The faces that surely wear no glasses, without hands before them."""
        return np.flatnonzero((self.held_out == held_out) & self.bare & ~self.unused)

    def _people_with_hands(
        self, found: dict[int, list[NDArray[np.float32]]], held_out: bool
    ) -> list[list[Hand]]:
        people: dict[str, list[Hand]] = {}
        for row, hands in found.items():
            name = self.people[row]
            share = zlib.crc32(f"hand {name}".encode()) / 2**32
            if (bool(self.held_out[row]) or share < HANDS_HELD_OUT) != held_out:
                continue
            oval = self.meshes[row][list(mesh.FACE_OVAL)]
            middle = face_mask(MIDDLE * oval + (1.0 - MIDDLE) * oval.mean(axis=0), READ) > 0.5
            for joints in hands:
                hand = cut_out(row, np.array(self.pictures[row]), joints)
                if hand is not None and hand.alpha[middle].mean() < MOST_OF_FACE:
                    people.setdefault(name, []).append(hand)
        return list(people.values())

    def example(self, row: int, random: np.random.Generator, held_out: bool = False) -> Example:
        """A face as the net reads it (1, 3, 256, 256), the answer and its weight (2, 256, 256)."""
        shown = str(random.choice(list(SHOWN), p=list(SHOWN.values())))
        if shown == "own hand":
            return self._own_hand(self._hand(random, self.before_faces[held_out]), random)
        picture, landmarks, _ = self._moved(row, random)
        bare = picture
        alpha = np.zeros((READ, READ), np.float32)
        channel = GLASSES if shown == "glasses" else OTHER
        moves = False
        if shown == "glasses":
            picture, alpha = _with_glasses(picture, landmarks, random)
        elif shown == "hand":
            scene = Scene.of(picture, landmarks, random)
            picture, alpha = laid_over(
                self._hand(random, self.hands[held_out]), picture, scene, random
            )
            moves = True
        elif shown == "drawing":
            kind = str(random.choice([kind for kind in DRAWINGS if "glasses" not in kind]))
            picture, alpha = add_occluder(picture, landmarks, random, kind)
            moves = kind in HELD
        if moves and random.random() < MOVING:
            picture, alpha = _moving(bare, picture, alpha, random)
        return self._answered(bare, picture, landmarks, {channel: alpha}, random)

    def _own_hand(self, hand: Hand, random: np.random.Generator) -> Example:
        picture, landmarks, turn = self._moved(hand.row, random)
        alpha, unsure = (
            cv2.warpAffine(part, turn, (READ, READ)) for part in (hand.alpha, hand.unsure)
        )
        near = cv2.dilate((alpha > 0.5).astype(np.float32), np.ones((NEAR, NEAR), np.uint8))
        known = np.where(alpha > 0.5, 1.0, near) * (1.0 - (unsure > 0.3))
        shown = self._answered(picture, picture, landmarks, {OTHER: alpha}, random)
        weight = shown[2]
        weight[OTHER] *= np.asarray(known, np.float32)
        weight[GLASSES] *= float(self.bare[hand.row])
        return shown

    def _hand(self, random: np.random.Generator, people: list[list[Hand]]) -> Hand:
        """Of anyone, as often as of others who have more photographs."""
        hands = people[int(random.integers(len(people)))]
        return hands[int(random.integers(len(hands)))]

    def _before_face(self, hand: Hand) -> bool:
        face = face_mask(self.meshes[hand.row][list(mesh.FACE_OVAL)], READ)
        return float((face * hand.alpha).sum() / face.sum()) > LEAST_OF_FACE

    def _answered(
        self, bare: NDArray[np.uint8], picture: NDArray[np.uint8], landmarks: Plane,
        before: dict[int, Plane], random: np.random.Generator,
    ) -> Example:  # fmt: skip
        mask = np.zeros((2, READ, READ), np.float32)
        for channel, alpha in before.items():
            mask[channel] = alpha
        if random.random() < 0.6:
            picture = degrade(picture, random)
        inside = face_mask(landmarks[list(mesh.FACE_OVAL)], READ)
        weight = np.repeat((OUTSIDE + inside)[None], 2, axis=0)
        # The photograph's own hair and hats, where their colour is conclusive.
        seen = cv2.resize(uncovered_part(bare, landmarks), (READ, READ))
        weight[OTHER] *= np.maximum(np.abs(2.0 * seen - 1.0), mask[OTHER])
        mask[OTHER] = np.maximum(mask[OTHER], 1.0 - seen)
        return as_read([picture]), mask, weight

    def _moved(self, row: int, random: np.random.Generator) -> Moved:
        turn = cv2.getRotationMatrix2D(
            (127.5, 127.5), random.uniform(-8, 8), random.uniform(0.9, 1.1)
        )
        turn[:, 2] += random.uniform(-6, 6, 2)
        picture = cv2.warpAffine(
            self.pictures[row], turn, (READ, READ), borderMode=cv2.BORDER_REFLECT_101
        )
        picture = cv2.convertScaleAbs(picture * random.uniform(0.75, 1.25))
        landmarks = self.meshes[row] @ turn[:, :2].T + turn[:, 2]
        return picture.astype(np.uint8), landmarks.astype(np.float32), turn

    def batch(
        self, rows: NDArray[np.int64], seed: int, held_out: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, answers and weights of examples; always the same for a seed."""
        random = np.random.default_rng(seed)
        made = [self.example(int(row), random, held_out) for row in random.choice(rows, BATCH)]
        pictures, masks, weights = zip(*made, strict=True)
        return (
            torch.cat(pictures),
            torch.from_numpy(np.stack(masks)),
            torch.from_numpy(np.stack(weights)),
        )


def _with_glasses(
    picture: NDArray[np.uint8], landmarks: Plane, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Plane]:
    """A face with drawn glasses, and how much of each pixel they are; of thin frames, more."""
    scene = Scene.of(picture, landmarks, random)
    drawn = random.random()
    kind = wire_glasses if drawn < WIRE else sunglasses if drawn < WIRE + DARK else glasses
    layers, softness = kind(scene, random), random.uniform(0, MAX_SOFTNESS)
    worn, alpha = compose(picture, layers, softness)
    _, frame = compose(picture, layers[-1:], softness)
    low, high = FRAME
    return worn, np.maximum(alpha, np.clip((frame - low) / (high - low), 0.0, 1.0))


def _moving(
    bare: NDArray[np.uint8], picture: NDArray[np.uint8], alpha: Plane, random: np.random.Generator
) -> tuple[NDArray[np.uint8], Plane]:
    """What was laid over a `bare` face smeared by its own motion, and how much of a pixel it is."""
    kernel = motion_kernel(random.uniform(*LENGTH), random)
    above = cv2.filter2D(picture * alpha[..., None], -1, kernel, borderType=cv2.BORDER_REPLICATE)
    share = cv2.filter2D(alpha, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    smeared = bare * (1.0 - share[..., None]) + above
    return cv2.convertScaleAbs(smeared), np.asarray(share, np.float32)


def loss_of(logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy, and what of the masks' own area is missed or too much (Dice)."""
    entropy = F.binary_cross_entropy_with_logits(logits, masks, weights)
    found = logits.sigmoid()
    common = 2.0 * (weights * found * masks).sum(dim=(2, 3)) + 80.0
    whole = (weights * (found + masks)).sum(dim=(2, 3)) + 80.0
    return entropy + 0.1 * (1.0 - common / whole).mean()


@click.command()
@click.argument("faces", type=PATH)
@click.argument("cache", type=PATH)
@click.option("-o", "--output", type=PATH, default=WEIGHTS)
@click.option("--steps", type=int, default=STEPS)
@click.option("--rate", type=float, default=RATE)
@click.option("--start-from", type=PATH, help="Weights to go on from.")
def main(
    faces: Path, cache: Path, output: Path, steps: int, rate: float, start_from: Path | None
) -> None:
    """Fit, print how much is found, and write the weights as fp16."""
    configure_process()
    torch.manual_seed(0)
    drawer = Drawer(faces, cache)
    net = OcclusionNet().to(memory_format=torch.channels_last)
    if start_from is not None:
        net.load_state_dict({k: v.float() for k, v in load_file(start_from).items()})
    rows = drawer.rows(held_out=False)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
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
    batches = [drawer.batch(rows, 10**9 + seed, held_out=True) for seed in range(8)]
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
