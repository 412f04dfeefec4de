"""Make vidswap/faces/face_shape.npz: how the features of faces vary between people and within one.

    python -m pipelines.fitting.face_shape FACES [-o FILE]

FACES is a dataset as `vidswap dataset build` writes it. People with two or more pictures give the
variation within a person, all pictures of photographed people that in all; the difference is that
between people. Held-out people are left out; on them is measured how near the proportions told
from one half of a person's pictures come to the other half's.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from vidswap.faces.mesh import FACE_OVAL, INNER_LIPS, OUTER_LIPS
from vidswap.faces.pose import canonical_mesh
from vidswap.faces.shape import ShapeModel, without_pose
from vidswap.training.data.face_shards import (
    FaceRecord,
    read_excluded,
    read_index,
    read_landmarks,
    whole_meshes,
)

FIRST_IRIS_POINT = 468  # where eyes look is no proportion
PHOTOGRAPHED = ("lfw", "clip", "ffhq")  # kinds of pictures; a generator's people are too alike
MOST_BESIDE = 0.35  # units of the canonical mesh: beyond, the net has lost the face
MOST_PICTURES = 12  # of one person
# Who speaks, laughs and grimaces before a camera moves the mouth more than who is photographed: so
# many times the variance of its form, where the mouth as a whole lies left out.
MOUTH_MOVES = 4.0
SMOOTHING = 1e-4  # of the thin plate, so that points side by side do not crease it
SIZE = 40  # numbers that a shape is told in
PATH = click.Path(path_type=Path)
Array = NDArray[np.float64]


def differences(folder: Path) -> tuple[Array, NDArray[np.int64]]:
    """How the points of every face lie beside the mean face's (N, K * 2), and which points."""
    points, index = read_landmarks(folder)
    known = np.sort(index[index < FIRST_IRIS_POINT]).astype(np.int64)
    meshes = whole_meshes(points.astype(np.float64), index)
    return np.array([without_pose(mesh, known).ravel() for mesh in meshes]), known


def pictures_of(records: list[FaceRecord], usable: NDArray[np.bool_]) -> dict[str, list[int]]:
    """The rows of every person with two or more pictures, at most `MOST_PICTURES`."""
    rows = defaultdict(list)
    for row in np.flatnonzero(usable):
        if records[row].identity:
            rows[records[row].person].append(int(row))
    random = np.random.default_rng(0)
    return {
        person: random.permutation(own)[:MOST_PICTURES].tolist()
        for person, own in rows.items()
        if len(own) > 1
    }


def fitted(shapes: Array, own_of: dict[str, list[int]], points: NDArray[np.int64]) -> ShapeModel:
    """The model of shapes (N, K * 2), with the rows of people who have several."""
    mean = shapes.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov(shapes.T))
    basis = axes[:, np.argsort(spread)[::-1][:SIZE]]
    told = (shapes - mean) @ basis
    apart = [told[rows] - told[rows].mean(axis=0) for rows in own_of.values()]
    freedom = sum(len(rows) - 1 for rows in own_of.values())
    within = np.concatenate(apart).T @ np.concatenate(apart) / freedom
    form = mouth_form(points, basis)
    size, axes = np.linalg.eigh(np.cov(told.T) - within)
    between = (axes * np.maximum(size, 1e-9)) @ axes.T
    within += (MOUTH_MOVES - 1.0) * form @ within @ form
    return ShapeModel(points, mean, basis, between, within, spread_of(points))


def mouth_form(points: NDArray[np.int64], basis: Array) -> Array:
    """The part of a shape (D, D) that is the form of the mouth, and not where it lies."""
    of_mouth = np.isin(points, [*OUTER_LIPS, *INNER_LIPS]).astype(float)
    one_axis = np.diag(of_mouth) - np.outer(of_mouth, of_mouth) / of_mouth.sum()
    both = np.kron(one_axis, np.eye(2))
    return np.asarray(basis.T @ both @ basis, np.float64)


def missed(model: ShapeModel, shapes: Array, own_of: dict[str, list[int]]) -> dict[str, float]:
    """Mean squared distance of a person's half of the pictures to what is told from the others."""
    errors = defaultdict(list)
    for rows in own_of.values():
        first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        told = (shapes - model.mean) @ model.basis
        wanted = told[second].mean(axis=0)
        answers = {
            "the mean face": np.zeros_like(wanted),
            "one mesh as it is": told[first[0]],
            "told from one mesh": model.proportions(told[first[0]], 1.0),
            "meshes as they are": told[first].mean(axis=0),
            "told from meshes": model.proportions(told[first].mean(axis=0), 1.0 / len(first)),
        }
        for name, answer in answers.items():
            errors[name].append(float(((answer - wanted) ** 2).sum()))
    return {name: float(np.mean(values)) for name, values in errors.items()}


def spread_of(points: NDArray[np.int64]) -> Array:
    """Thin-plate spline through the inner points' shifts that is zero on the outline."""
    inner = points[~np.isin(points, FACE_OVAL)]
    at = np.array([*inner, *FACE_OVAL])
    canonical = canonical_mesh().astype(np.float64)[:, :2]
    known = canonical[at]
    bending = _thin_plate(known, known) + SMOOTHING * np.eye(len(at))
    plane = np.column_stack([np.ones(len(at)), known])
    system = np.block([[bending, plane], [plane.T, np.zeros((3, 3))]])
    every = np.column_stack([np.ones(len(canonical)), canonical])
    solved = np.linalg.solve(system, np.eye(len(at) + 3, len(inner)))
    return np.asarray(np.hstack([_thin_plate(canonical, known), every]) @ solved, np.float64)


def _thin_plate(a: Array, b: Array) -> Array:
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    return np.asarray(0.5 * squared * np.log(np.maximum(squared, 1e-12)), np.float64)


@click.command()
@click.argument("faces", type=PATH)
@click.option("-o", "--output", type=PATH, default=Path("vidswap/faces/face_shape.npz"))
def main(faces: Path, output: Path) -> None:
    """Fit the model to the dataset FACES and write it."""
    records = read_index(faces)
    shapes, points = differences(faces)
    found = np.abs(shapes).max(axis=1) < MOST_BESIDE
    photographed = np.array([record.kind in PHOTOGRAPHED for record in records])
    usable = found & photographed & ~read_excluded(faces, records)
    held_out = np.array([record.held_out for record in records])
    rows = np.flatnonzero(usable & ~held_out)
    at = {row: i for i, row in enumerate(rows.tolist())}
    own_of = pictures_of(records, usable & ~held_out)
    local = {person: [at[row] for row in own] for person, own in own_of.items()}
    model = fitted(shapes[rows], local, points)
    arrays = {
        name: getattr(model, name).astype(np.float32)
        for name in ("mean", "basis", "between", "within", "spread")
    }
    np.savez_compressed(output, points=model.points.astype(np.int16), **arrays)
    click.echo(f"{len(rows)} pictures, {len(own_of)} people with several; {output}")
    tested = {p: own for p, own in pictures_of(records, usable & held_out).items() if len(own) > 3}
    for name, error in missed(model, shapes, tested).items():
        click.echo(f"{name}: {error:.4f} on {len(tested)} held-out people")


if __name__ == "__main__":
    main()
