"""How well face nets recognise people held out, and Table 2 of the context GAN in small."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.errors import BadOptionError
from vidswap.evaluation.inpainting import LFW, Recogniser, VerificationPair
from vidswap.evaluation.inpainting import draw_verification_pairs as draw_pairs
from vidswap.evaluation.judge import load_judge
from vidswap.faces.align import CROP_SIZE
from vidswap.identity.recogniser import PICTURE_SIZE
from vidswap.metrics.matching import (
    Interval,
    all_pairs,
    interval_of,
    rates_at,
    wilson_interval,
)
from vidswap.metrics.verification import Verification, verify_pairs
from vidswap.training.data.aligned_faces import read_aligned_faces
from vidswap.training.data.face_shards import iterate_faces, read_excluded, read_index
from vidswap.training.inpainting.kinds import InpaintJob
from vidswap.training.inpainting.run import export_inpainter, train_inpainter
from vidswap.training.recogniser.albums import read_albums

Picture = NDArray[np.uint8]

BASE = "recogniser-64"
RATE = 0.01  # the false positive rate that Table 2 names
BALANCED = 600  # pairs at most
_SEED = 7


@dataclass(frozen=True, eq=False)
class HeldOutAlbums:
    """All pictures (256, 256, 3) of people held out, whose each is, and balanced pairs of them."""

    pictures: list[Picture]
    people: list[str]
    pairs: list[VerificationPair]


@dataclass(frozen=True)
class Recognition:
    """What a face net makes of people held out.

    accuracy: over the balanced pairs, with Wilson's interval. verified: its folds, AUC and ROC.
    found: TPR at an FPR of 0.01, all pictures against all, over people drawn again.
    """

    accuracy: Interval
    verified: Verification
    found: Interval


@dataclass(frozen=True)
class TrainedOn:
    """A row of Table 2: what a recogniser has learnt from, and what of the tests it has passed.

    rates: TPR at an FPR of 0.01, of all pairs and of each resample, the mean over the trainings.
    """

    name: str
    photographs: int
    augmented: int
    people: int
    rates: NDArray[np.float64]

    @property
    def found(self) -> Interval:
        """The TPR with its interval over people."""
        return interval_of(self.rates)


def read_held_out_albums(folder: Path, kind: str = LFW) -> HeldOutAlbums:
    """The people held out of a kind. Raises InputNotFoundError where none has two pictures."""
    records = read_index(folder)
    excluded = read_excluded(folder, records)
    rows = [i for i, r in enumerate(records) if r.held_out and r.kind == kind and not excluded[i]]
    pairs, used = draw_pairs(records, excluded, BALANCED, kind, _SEED)
    number = {row: i for i, row in enumerate(rows)}
    return HeldOutAlbums(
        list(iterate_faces(folder, [records[row] for row in rows], CROP_SIZE)),
        [records[row].person for row in rows],
        [VerificationPair(number[used[p.first]], number[used[p.second]], p.same) for p in pairs],
    )


def recognise(faces: HeldOutAlbums, judge: Recogniser) -> Recognition:
    """Measure a face net."""
    embeddings = judge.embed(faces.pictures)
    same = np.array([pair.same for pair in faces.pairs])
    verified = verify_pairs(
        embeddings[[pair.first for pair in faces.pairs]],
        embeddings[[pair.second for pair in faces.pairs]],
        same,
    )
    return Recognition(
        wilson_interval(round(verified.accuracy * len(same)), len(same)),
        verified,
        interval_of(rates_at(all_pairs(embeddings, faces.people), RATE)),
    )


def train_with_and_without(
    job: InpaintJob, faces: HeldOutAlbums, kind: str = LFW, seeds: Sequence[int] = (1,)
) -> tuple[TrainedOn, TrainedOn, Interval]:
    """Table 2: recognisers from scratch, without and with augmented pictures, and the gain.

    Both learn from as many images of the same people's albums of `kind`, once per seed; the gain
    is the mean difference on the same draws of people. `job.config` is a configuration of a
    recogniser, `job.augmented` what `vidswap context` made of the faces. What is finished in the
    folder `job.run` is not trained again. Raises BadOptionError without augmented pictures or
    images, or where runs there were begun with other settings.
    """
    if job.augmented is None:
        raise BadOptionError("Table 2 needs augmented pictures: what `vidswap context` made")
    if job.images is None:
        raise BadOptionError("Table 2 needs --images N, the same for both rows")
    rows = []
    for name, augmented in (("photographs", None), ("augmented", job.augmented)):
        rates = np.mean(
            [_trained(job, faces, kind, seed, name, augmented) for seed in seeds], axis=0
        )
        read = read_aligned_faces(job.faces, job.cache_folder, PICTURE_SIZE)
        albums = read_albums(read, kind, augmented, job.cache_folder)
        numbers = np.concatenate([*albums.several, *albums.single])
        n_photographs = int((numbers < len(albums.photographs)).sum())
        n_people = len(albums.several) + len(albums.single)
        rows.append(TrainedOn(name, n_photographs, len(numbers) - n_photographs, n_people, rates))
    return rows[0], rows[1], interval_of(rows[1].rates - rows[0].rates)


def _trained(
    job: InpaintJob,
    faces: HeldOutAlbums,
    kind: str,
    seed: int,
    name: str,
    augmented: Path | None,
) -> NDArray[np.float64]:
    """Train one recogniser, or take the one that was trained, and match all against all."""
    run = job.run / f"{name}-{seed}"
    checkpoint, config = run / "recogniser.safetensors", run / "given.json"
    settings: dict[str, Any] = {"base": BASE}
    if job.config != BASE:
        settings = json.loads(Path(job.config).read_text())
    # What is hallucinated lies around the inner face, which the net must see to learn from it.
    settings["net"] = {"inner": False, **settings.get("net", {})}
    wanted = json.dumps({**settings, "kind": kind, "seed": seed, "images": job.images})
    if config.is_file() and config.read_text() != wanted:
        raise BadOptionError(f"{run}: begun with other settings; name another --run")
    if not checkpoint.is_file():
        run.mkdir(parents=True, exist_ok=True)
        config.write_text(wanted)
        own = replace(job, config=str(config), run=run, cache=job.cache_folder, resume=True)
        train_inpainter(replace(own, augmented=augmented))
        export_inpainter(run, checkpoint)
    embeddings = load_judge(checkpoint).embed(faces.pictures)
    return rates_at(all_pairs(embeddings, faces.people), RATE)
