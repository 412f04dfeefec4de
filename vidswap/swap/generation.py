"""The generator's call on aligned crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from vidswap.faces.align import CROP_SIZE
from vidswap.identity.encoder import IdEmbedding
from vidswap.models.face_net import FaceBatch, at_size, reference_tensor
from vidswap.nets import Nets
from vidswap.swap.faces import AlignedFace

Picture = NDArray[np.uint8]


def swap_faces(faces: Sequence[AlignedFace], nets: Nets) -> list[Picture]:
    """One call of each generator: Y (256, 256, 3) uint8 of each aligned face."""
    looks = [face.aims.look for face in faces]
    generators = [None if look is None else look.generator for look in looks]
    results: list[Picture | None] = [None] * len(faces)
    for generator in dict.fromkeys(generators):
        rows = [n for n, own in enumerate(generators) if own is generator]
        own_nets = nets if generator is None else replace(nets, generator=generator)
        swapped = _swapped_by([faces[n] for n in rows], own_nets)
        for n, y in zip(rows, swapped, strict=True):
            results[n] = y
    return [y for y in results if y is not None]


def _swapped_by(faces: Sequence[AlignedFace], nets: Nets) -> list[Picture]:
    references = [face.reference for face in faces]
    return swap_crops(
        nets,
        [face.crop for face in faces],
        [face.boundary_map for face in faces],
        _identities([face.source.identity for face in faces]),
        references if any(view is not None for view in references) else None,
        _masks([face.hole for face in faces], nets) if nets.generator.net.takes.mask else None,
    )


def swap_crops(
    nets: Nets,
    crops: Sequence[Picture],
    boundary_maps: Sequence[Picture],
    identity: IdEmbedding,
    references: Sequence[Picture | None] | None = None,
    masks: torch.Tensor | None = None,
) -> list[Picture]:
    """One generator call on crops and boundary maps, (S, S, 3) uint8 each: Y, as large as they are.

    `identity` has a row for each crop; `references` (S, S, 4) uint8 are shown where the net takes
    them, None for a crop that has none. `masks` (B, 1, S, S) are 1 where crops are to be filled.
    """
    takes = nets.generator.net.takes
    targets = _to_tensor(crops, nets).mul_(2.0).sub_(1.0)
    batch = FaceBatch(
        targets,
        _to_tensor(boundary_maps, nets) if takes.boundary_map else None,
        identity if takes.id_embedding else None,
        _references(references, nets) if takes.reference and references else None,
        masks,
    )
    with torch.inference_mode():
        outputs = at_size(nets.generator.net, batch)
        pixels = outputs.add_(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).cpu().numpy())


def _identities(identities: Sequence[IdEmbedding]) -> IdEmbedding:
    """The sources of a batch, a row each."""
    first = identities[0]
    if all(identity is first for identity in identities):
        return first.expand(len(identities))
    return IdEmbedding.concatenate(identities)


def _references(views: Sequence[Picture | None], nets: Nets) -> torch.Tensor:
    """Views as the net takes them; a mask of zeros shows nothing."""
    known = next(view for view in views if view is not None)
    filled = [np.zeros_like(known) if view is None else view for view in views]
    return reference_tensor(torch.from_numpy(np.stack(filled))).to(nets.device, nets.dtype)


def _masks(holes: Sequence[NDArray[np.bool_] | None], nets: Nets) -> torch.Tensor:
    """Holes (256, 256) as a net takes them, (B, 1, 256, 256); nothing is filled without one."""
    empty = np.zeros((CROP_SIZE, CROP_SIZE), bool)
    stacked = np.stack([empty if hole is None else hole for hole in holes])
    return torch.from_numpy(stacked[:, None]).to(nets.device, nets.dtype)


def _to_tensor(pictures: Sequence[Picture], nets: Nets) -> torch.Tensor:
    """uint8 (H, W, 3) pictures to (B, 3, H, W) in [0, 1] on the device, channels last."""
    stacked = torch.from_numpy(np.stack(pictures)).to(nets.device, non_blocking=True)
    return stacked.permute(0, 3, 1, 2).to(nets.dtype).div_(255.0)
