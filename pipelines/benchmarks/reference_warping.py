"""What a swap could reach: the source's photograph itself, warped onto the target by its mesh.

    python -m pipelines.benchmarks.reference_warping FACES --judge faceres.json [--checkpoint FILE]

FACES is a dataset as `vidswap dataset build` writes it. Its held-out pairs are swapped by the
generator, by warping alone, and by laying in what a generator is shown of the source; all are
compared with source and target by the judge, and by dlib's net, which is in the training loss.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from vidswap.blending.warping import FaceCrop, warped_onto
from vidswap.evaluation.held_out import (
    HeldOutFaces,
    read_held_out,
    swap_held_out,
    targets_and_views,
)
from vidswap.evaluation.judge import Judge, load_judge
from vidswap.evaluation.pairs import N_PAIRS
from vidswap.metrics.identity import nearer_to_source, paired_cosines
from vidswap.nets import load_nets

COLOUR = 0.7  # how far the warped face takes on the target's
PATH = click.Path(path_type=Path, exists=True)


def warped(faces: HeldOutFaces) -> list[NDArray[np.uint8]]:
    """Every source warped onto its target, (256, 256, 3) each."""
    return [
        warped_onto(FaceCrop(source, one), FaceCrop(target, other), COLOUR, points=faces.mesh_index)
        for source, one, target, other in zip(
            faces.sources, faces.source_landmarks, faces.targets, faces.landmarks, strict=True
        )
    ]


def shown(faces: HeldOutFaces) -> list[NDArray[np.uint8]]:
    """What a generator is shown of every source, laid over its target, (256, 256, 3) each."""
    swaps = []
    for target, view in zip(*targets_and_views(faces)[:2], strict=True):
        part = view[..., 3:] / np.float32(255.0)
        swaps.append(np.rint(part * view[..., :3] + (1.0 - part) * target.crop).astype(np.uint8))
    return swaps


def compared(name: str, swaps: list[NDArray[np.uint8]], faces: HeldOutFaces, judge: Judge) -> str:
    """How near swaps are to source and target, in words."""
    sources, targets, after = (judge.embed(p) for p in (faces.sources, faces.targets, swaps))
    to_source, to_target = paired_cosines(after, sources), paired_cosines(after, targets)
    nearer = nearer_to_source(after, sources, targets)
    return (
        f"{name}, {judge.stated}: nearer to the source {np.mean(nearer):.1%}, cosine to source "
        f"{np.mean(to_source):.3f}, to target {np.mean(to_target):.3f}"
    )


@click.command()
@click.argument("faces", type=PATH)
@click.option("--judge", type=PATH, required=True, help="TensorFlow.js face net.")
@click.option("--checkpoint", type=PATH, help="Generator; default: the packaged.")
def main(faces: Path, judge: Path, checkpoint: Path | None) -> None:
    """Print a line for each way of swapping and each net."""
    given = read_held_out(faces, N_PAIRS)
    with closing(load_nets(checkpoint)) as nets:
        ways = {
            "warped": warped(given),
            "reference": shown(given),
            "generator": swap_held_out(given, nets)[0],
        }
    for net in (load_judge(judge), load_judge(None)):
        for name, swaps in ways.items():
            click.echo(compared(name, swaps, given, net))


if __name__ == "__main__":
    main()
