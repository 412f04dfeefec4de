"""Tables of the papers on inpainting: how near fillings come to what was there, and to whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.errors import InputNotFoundError
from vidswap.evaluation.judge import Judge, load_judge
from vidswap.inpainting.blending import poisson_blend
from vidswap.inpainting.inpainter import Inpainter
from vidswap.inpainting.masks import Mask, centre_square, half, random_block, random_pixels
from vidswap.inpainting.search import LatentSearch, SearchSettings
from vidswap.metrics.image import psnr, ssim
from vidswap.metrics.matching import Interval, accuracies_over_people, interval_of
from vidswap.metrics.verification import Verification, verify_pairs
from vidswap.models.face_net import FaceBatch, at_size
from vidswap.people.embedding import crops_to_tensor
from vidswap.training.data.face_shards import FaceRecord, iterate_faces, read_excluded, read_index
from vidswap.training.graph_readers import read_tflite
from vidswap.training.id_targets import MobileFaceNet

Picture = NDArray[np.uint8]
Fill = Callable[[Sequence[Picture], Sequence[Mask]], list[Picture]]

BATCH = 16
WHITE = 255  # what a hole is filled with before it is inpainted: ID-GAN, IV.A
CV_RADIUS = 5  # pixels
LFW = "lfw"


class Recogniser(Protocol):
    """A face net that verifies."""

    @property
    def stated(self) -> str:
        """Its name, as a table has it."""

    def embed(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """Embeddings (N, D) of aligned crops."""


@dataclass(frozen=True)
class VerificationPair:
    """Two rows of a list of pictures, and whether they show one person."""

    first: int
    second: int
    same: bool


@dataclass(frozen=True, eq=False)
class HeldOutHoles:
    """Held-out faces (S, S, 3) uint8 with a hole each, pairs of them, and whose each is.

    Where people are not known accuracies have no intervals.
    """

    pictures: list[Picture]
    masks: list[Mask]
    pairs: list[VerificationPair]
    people: list[str] | None = None


@dataclass(frozen=True)
class FillingQuality:
    """Means over all faces, whole pictures; and the accuracy of verification by recogniser.

    psnr: decibels. regained: by recogniser, the share of the accuracy lost by occlusion that
    filling brings back, with its interval over people; NaN where occlusion cost none. drawn: the
    accuracy by recogniser of all people and of each resample of them.
    """

    psnr: float
    ssim: float
    accuracy: Mapping[str, Verification] = field(default_factory=dict)
    regained: Mapping[str, Interval] = field(default_factory=dict)
    drawn: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def read_holes(
    folder: Path, n_pairs: int, size: int = 128, kind: str = LFW, seed: int = 7, blocks: int = 1
) -> HeldOutHoles:
    """Balanced pairs of held-out people's pictures of a kind, each picture with a block hidden.

    Half of the pairs are two pictures of a person, as many as there are up to `n_pairs` / 2; the
    same at every call. All come `blocks` times, with blocks at other places. Raises
    InputNotFoundError where no person held out has two pictures.
    """
    records = read_index(folder)
    pairs, rows = draw_verification_pairs(
        records, read_excluded(folder, records), n_pairs, kind, seed
    )
    pictures = list(iterate_faces(folder, [records[row] for row in rows], size))
    n, people = len(pictures), [records[row].person for row in rows]
    random = np.random.default_rng(seed)
    again = [
        VerificationPair(i * n + pair.first, i * n + pair.second, pair.same)
        for i in range(blocks)
        for pair in pairs
    ]
    masks = [random_block(size, random) for _ in range(blocks * n)]
    return HeldOutHoles(pictures * blocks, masks, again, people * blocks)


def draw_verification_pairs(
    records: Sequence[FaceRecord], excluded: NDArray[np.bool_], n: int, kind: str, seed: int
) -> tuple[list[VerificationPair], list[int]]:
    """Pairs as numbers into the rows that are returned with them."""
    albums: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        if record.held_out and record.kind == kind and not excluded[row]:
            albums[record.person].append(row)
    positive = [
        (album[i], album[j])
        for album in albums.values()
        for i in range(len(album))
        for j in range(i + 1, len(album))
    ]
    if not positive or len(albums) < 2:
        raise InputNotFoundError(
            f"no person held out has two pictures of kind {kind}; verification needs some"
        )
    random = np.random.default_rng(seed)
    # A person with many pictures would otherwise be most of the pairs.
    order = random.permutation(len(positive))
    used: dict[str, int] = defaultdict(int)
    chosen: list[tuple[int, int, bool]] = []
    for index in order:
        first, second = positive[index]
        person = records[first].person
        if used[person] < 10 and len(chosen) < n // 2:
            used[person] += 1
            chosen.append((first, second, True))
    people = sorted(albums)
    for _ in range(len(chosen)):
        one, other = random.choice(len(people), 2, replace=False)
        first, second = (int(random.choice(albums[people[i]])) for i in (one, other))
        chosen.append((first, second, False))
    rows = sorted({row for first, second, _ in chosen for row in (first, second)})
    number = {row: i for i, row in enumerate(rows)}
    # Every fold of the verification gets pairs of both kinds.
    shuffled = [chosen[i] for i in random.permutation(len(chosen))]
    return [VerificationPair(number[a], number[b], same) for a, b, same in shuffled], rows


def occluded(pictures: Sequence[Picture], masks: Sequence[Mask]) -> list[Picture]:
    """The pictures with their holes white."""
    return [
        np.where(mask[..., None], np.uint8(WHITE), picture)
        for picture, mask in zip(pictures, masks, strict=True)
    ]


def by_opencv(method: int) -> Fill:
    """OpenCV's filling: cv2.INPAINT_TELEA or cv2.INPAINT_NS."""

    def fill(pictures: Sequence[Picture], masks: Sequence[Mask]) -> list[Picture]:
        return [
            np.asarray(cv2.inpaint(picture, mask.astype(np.uint8), CV_RADIUS, method), np.uint8)
            for picture, mask in zip(occluded(pictures, masks), masks, strict=True)
        ]

    return fill


def by_model(model: Inpainter, blended: bool = True) -> Fill:
    """A model's filling, by Poisson blending or as it is."""

    def fill(pictures: Sequence[Picture], masks: Sequence[Mask]) -> list[Picture]:
        results: list[Picture] = []
        for start in range(0, len(pictures), BATCH):
            part = slice(start, start + BATCH)
            given = occluded(pictures[part], masks[part])
            holes = torch.from_numpy(np.stack(masks[part])[:, None]).float()
            dtype = next(model.parameters()).dtype
            batch = FaceBatch(crops_to_tensor(given).to(dtype), masks=holes.to(dtype))
            with torch.inference_mode():
                answers = at_size(model, batch).float().clamp(-1.0, 1.0)
            rgb = ((answers + 1.0) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            for picture, mask, answer in zip(given, masks[part], rgb, strict=True):
                if blended:
                    results.append(poisson_blend(picture, answer, mask))
                else:
                    results.append(np.where(mask[..., None], answer, picture))
        return results

    return fill


def recognisers(second_encoder: Path | None, judge: Path | None) -> list[Judge]:
    """The face nets that verify: dlib's, which is in ID-GAN's loss, and those that are given."""
    found = [load_judge(None)]
    if second_encoder is not None:
        net = MobileFaceNet(read_tflite(second_encoder))
        found.append(Judge("MobileFaceNet", "", False, net))
    if judge is not None:
        found.append(load_judge(judge))
    return found


def measure_fillings(
    faces: HeldOutHoles, fills: Mapping[str, Fill | None], judges: Sequence[Recogniser]
) -> Iterator[tuple[str, FillingQuality]]:
    """A row for the ground truth, one for the occluded faces, and one for each way to fill.

    ID-GAN, Tables II and III.
    """
    same = np.array([pair.same for pair in faces.pairs])
    first = [pair.first for pair in faces.pairs]
    second = [pair.second for pair in faces.pairs]

    def drawn(found: Verification) -> NDArray[np.float64]:
        if faces.people is None:
            return np.array([found.accuracy])
        _, people = np.unique(np.asarray(faces.people), return_inverse=True)
        return accuracies_over_people(found.correct, people[first], people[second])

    def accuracy(pictures: Sequence[Picture]) -> dict[str, Verification]:
        found = {}
        for judge in judges:
            embeddings = judge.embed(pictures)
            found[judge.stated] = verify_pairs(embeddings[first], embeddings[second], same)
        return found

    def quality(pictures: Sequence[Picture]) -> FillingQuality:
        found = accuracy(pictures)
        resampled = {judge: drawn(of) for judge, of in found.items()}
        return replace(_likeness(faces.pictures, pictures), accuracy=found, drawn=resampled)

    truth = replace(quality(faces.pictures), psnr=float("inf"))
    yield "ground truth", truth
    lost = quality(occluded(faces.pictures, faces.masks))
    yield "occluded", lost
    for name, fill in fills.items():
        if fill is None:
            continue
        row = quality(fill(faces.pictures, faces.masks))
        regained = {
            judge: interval_of(_shares(of, lost.drawn[judge], truth.drawn[judge]))
            for judge, of in row.drawn.items()
        }
        yield name, replace(row, regained=regained)


def _likeness(pictures: Sequence[Picture], others: Sequence[Picture]) -> FillingQuality:
    pairs = list(zip(pictures, others, strict=True))
    return FillingQuality(
        float(np.mean([psnr(a, b) for a, b in pairs])),
        float(np.mean([ssim(a, b) for a, b in pairs])),
    )


def _shares(
    values: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far values are from low to high; NaN where high is not above low."""
    lost = np.where(high > low, high - low, np.nan)
    shares: NDArray[np.float64] = (values - low) / lost
    return shares


SEARCHES = {
    "L1 alone (DIP)": SearchSettings(structure=False, boundary=False),
    "boundary weights": SearchSettings(structure=False),
    "structure": SearchSettings(boundary=False),
    "both": SearchSettings(),
}


def latent_masks(size: int, n: int, seed: int = 7) -> dict[str, list[Mask]]:
    """The holes of "Deep generative inpainting", Figures 8 to 11 and Table 1, for n faces each."""
    random = np.random.default_rng(seed)
    holes = {"centre": [centre_square(size, 0.5)] * n}
    for share in (0.2, 0.4, 0.6, 0.8):
        holes[f"{share:.0%} of pixels"] = [random_pixels(size, share, random) for _ in range(n)]
    for side in ("left", "right", "upper", "lower"):
        holes[f"{side} half"] = [half(size, side)] * n
    return holes


def measure_searches(
    model: LatentSearch,
    pictures: Sequence[Picture],
    masks: Mapping[str, list[Mask]],
    settings: Mapping[str, SearchSettings],
    iterations: int,
    restarts: int = 1,
) -> Iterator[tuple[str, str, FillingQuality]]:
    """PSNR and SSIM of each kind of search for each kind of hole; pictures are (64, 64, 3)."""
    for hole, of_hole in masks.items():
        for name, each in settings.items():
            model.settings = replace(each, iterations=iterations, restarts=restarts)
            # Single pixels have no inside that a Poisson equation could be solved in.
            fill = by_model(model, blended="pixels" not in hole)
            yield hole, name, _likeness(pictures, fill(pictures, of_hole))


def held_out_pictures(folder: Path, n: int, size: int, seed: int = 7) -> list[Picture]:
    """Pictures (size, size, 3) of n people held out, drawn from all kinds."""
    records = read_index(folder)
    excluded = read_excluded(folder, records)
    rows = [i for i, record in enumerate(records) if record.held_out and not excluded[i]]
    if not rows:
        raise InputNotFoundError(f"{folder}: nobody is held out; evaluation needs faces never seen")
    chosen = np.random.default_rng(seed).permutation(rows)[:n]
    return list(iterate_faces(folder, [records[i] for i in sorted(chosen)], size))
