"""The identity loss on encoders of different make, which no hidden pattern pleases together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.identity.encoder import IdentityEncoder, dlib_crop
from vidswap.training.id_targets import MobileFaceNet, split_embedding
from vidswap.training.losses import apart_from_target, random_degradation, random_jitter


class IdentityLoss(nn.Module):
    """Eq. 6 against the embeddings of a dataset's faces.

    `id_rows` (N, sum(ID_WIDTHS)) are dlib's, `second_rows` (N, 192) the second encoder's where
    there is one. A strong loss on one encoder alone is met by painting a grid that only this
    encoder takes for the source; so there are two, and each sees jittered, degraded views.
    """

    id_rows: Tensor
    second_rows: Tensor | None

    def __init__(
        self,
        encoder: IdentityEncoder,
        id_rows: Tensor,
        second: MobileFaceNet | None = None,
        second_rows: Tensor | None = None,
        jitter: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.second = second
        self.jitter = jitter
        self.register_buffer("id_rows", id_rows, persistent=False)
        self.register_buffer("second_rows", second_rows, persistent=False)

    def forward(self, outputs: Tensor, sources: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Terms by name for outputs (B, 3, S, S); `sources` and `targets` (B,) are rows.

        Each face meets one of two encoders, which cost as much as the discriminators.
        """
        n = outputs.shape[0]
        order = torch.randperm(n, device=outputs.device)
        outputs, sources, targets = outputs[order], sources[order], targets[order]
        views = self._views(n).to(outputs.device, non_blocking=True)
        n_first = n if self.second is None else n // 2
        terms, apart = self._by_dlib(
            outputs[:n_first], views[:n_first], sources[:n_first], targets[:n_first]
        )
        if self.second is not None:
            second, apart_second = self._by_second(
                outputs[n_first:], views[n_first:], sources[n_first:], targets[n_first:]
            )
            terms |= second
            apart = apart + apart_second
        return {**terms, "identity_apart": apart}

    def _by_dlib(
        self, outputs: Tensor, views: Tensor, sources: Tensor, targets: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        faces = self._degraded(dlib_crop(outputs, views))
        embedding = self.encoder.embed_faces(faces).embedding.float()
        wanted = split_embedding(self.id_rows[sources]).embedding
        shown = split_embedding(self.id_rows[targets]).embedding
        # dlib's net is trained for Euclidean distance, where 0.6 parts two people.
        distance = ((embedding - wanted) ** 2).sum(dim=1).mean()
        return {"identity_dlib": distance}, apart_from_target(embedding, wanted, shown)

    def _by_second(
        self, outputs: Tensor, views: Tensor, sources: Tensor, targets: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        assert self.second is not None and self.second_rows is not None
        embedding = self.second(self._degraded(outputs), views).float()
        wanted, shown = self.second_rows[sources], self.second_rows[targets]
        distance = (1.0 - F.cosine_similarity(embedding, wanted)).mean()
        return {"identity_mobilefacenet": distance}, apart_from_target(embedding, wanted, shown)

    def _views(self, n: int) -> Tensor:
        amount = 1.0 if self.jitter else 0.0
        return random_jitter(n, scale=0.06 * amount, rotation=0.08 * amount, shift=0.05 * amount)

    def _degraded(self, faces: Tensor) -> Tensor:
        return random_degradation(faces) if self.jitter else faces
