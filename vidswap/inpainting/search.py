"""Fill a face by searching a generator's latent space (deep generative inpainting, III).

The numbers z whose picture is nearest to what is known of a face are found by back-propagation
through the DCGAN; what that picture shows under the mask is the filling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.dcgan import (
    N_LATENT,
    SIZE,
    DcganConfig,
    DcganDiscriminator,
    DcganGenerator,
)
from vidswap.inpainting.inpainter import Inpainter, read_inpainter
from vidswap.models.checkpoint_file import CheckpointFile
from vidswap.models.registry import BuiltNet, register

ITERATIONS = 1000  # III.D
WEIGHTS = (0.003, 0.2, 0.797)  # lambda_1 to lambda_3: adversarial, content, structure
BOUNDARY_BLOCK, BOUNDARY_GAIN = 7, 2.0  # k and alpha of eq. 7
RATE = 0.05  # Adam's, of z
LONGEST = 1.1  # of z, in lengths that numbers of the prior have; beyond it is noise, not faces
WINDOW, WINDOW_SIGMA = 11, 1.5  # of SSIM, pixels
K1, K2 = 0.01, 0.03  # of SSIM; L, the range of values, is 1


@dataclass(frozen=True)
class SearchSettings:
    """How z is searched: eq. 8 with III.D's values, or some part of it.

    structure and boundary off is the search by content alone that the paper compares with (DIP:
    Yeh et al., 2017). restarts: searches with other beginnings, of which the best is kept.
    """

    iterations: int = ITERATIONS
    restarts: int = 2
    structure: bool = True
    boundary: bool = True
    seed: int = 1


class SearchRanges(nn.Module):
    """Eq. 5 and 6: least and greatest SSIM and L1 distance between photographs and generated faces.

    Means minus and plus three deviations, from statistics that training computes. L1 is the mean
    over pixels and channels of faces in [-1, 1], SSIM that of `ssim_tensor`.
    """

    ssim: Tensor
    content: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ssim", torch.tensor([0.0, 1.0]))
        self.register_buffer("content", torch.tensor([0.0, 2.0]))

    def content_loss(self, distance: Tensor) -> Tensor:
        """L_c, eq. 6, of mean L1 distances (B,).

        The paper's middle case divides the distance itself by c_max - c_min, so that it jumps at
        both ends; here c_min is taken off first, as eq. 5 does, and beyond the ends the line goes
        on: a search that begins outside the range has a gradient.
        """
        low, high = self.content.unbind()
        return (distance - low) / (high - low)

    def structure_loss(self, similarity: Tensor) -> Tensor:
        """L_s, eq. 5, of SSIM (B,); beyond the ends the line goes on, as in `content_loss`."""
        low, high = self.ssim.unbind()
        return (high - similarity) / (high - low)


class LatentSearch(Inpainter):
    """G, D and the search for z; an `Inpainter` of 64 pixels."""

    name = "latent"

    def __init__(self, config: DcganConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DcganConfig()
        self.generator = DcganGenerator(config.generator_width)
        self.discriminator = DcganDiscriminator(config.discriminator_width)
        self.ranges = SearchRanges()
        self.settings = SearchSettings()

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return SIZE

    def fill(self, pictures: Tensor, masks: Tensor, identity: IdEmbedding | None) -> Tensor:
        """`Inpainter.fill`: the generated face nearest to each picture."""
        return self.search(pictures, masks)[0].to(pictures.dtype)

    def search(
        self,
        pictures: Tensor,
        masks: Tensor,
        progress: Callable[[int, Tensor], None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """G(z) (B, 3, 64, 64) for faces and masks, and the loss of eq. 8 (B,) of each.

        All faces and restarts are searched in one batch. `progress` gets the number of each
        iteration and the losses (restarts, B).
        """
        settings, device = self.settings, pictures.device
        n, restarts = len(pictures), settings.restarts
        random = torch.Generator().manual_seed(settings.seed)
        z = torch.randn(restarts, 1, N_LATENT, generator=random).expand(restarts, n, N_LATENT)
        known = 1.0 - masks.float()
        weights = boundary_weights(masks.float()) if settings.boundary else torch.ones_like(known)
        given = (pictures.float() * known).repeat(restarts, 1, 1, 1)
        known, weights = known.repeat(restarts, 1, 1, 1), weights.repeat(restarts, 1, 1, 1)
        # A search goes through the nets backwards, whatever its caller does.
        with torch.inference_mode(False), torch.enable_grad():
            given, known, weights = given.clone(), known.clone(), weights.clone()
            z = z.reshape(restarts * n, N_LATENT).to(device).clone().requires_grad_(True)
            optimiser = torch.optim.Adam([z], RATE)
            rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.iterations)
            for iteration in range(settings.iterations):
                losses = self.losses(self._generated(z), given, known, weights)
                (gradient,) = torch.autograd.grad(losses.sum(), z)
                z.grad = gradient
                optimiser.step()
                rates.step()
                with torch.no_grad():
                    z.mul_((LONGEST * N_LATENT**0.5 / z.norm(dim=1, keepdim=True)).clamp(max=1.0))
                if progress is not None:
                    progress(iteration, losses.detach().reshape(restarts, n))
        with torch.no_grad():
            faces = self._generated(z.detach())
            losses = self.losses(faces, given, known, weights).reshape(restarts, n)
        best = losses.argmin(dim=0)
        chosen = faces.reshape(restarts, n, *faces.shape[1:])[best, torch.arange(n)]
        return chosen, losses[best, torch.arange(n)]

    def losses(self, faces: Tensor, given: Tensor, known: Tensor, weights: Tensor) -> Tensor:
        """Eq. 8 (B,): faces G(z), what is given of the pictures, M (1 where known) and W.

        L1 and SSIM are means over the known pixels, each counted W times; with W and M of nothing
        but ones they are those of whole pictures, for which the ranges are. The paper multiplies
        the pictures themselves by W, which makes SSIM's constants depend on it.
        """
        adversarial, content, structure = WEIGHTS
        logits = self._judged(faces)
        counts = known * weights
        n = counts.flatten(1).sum(dim=1).clamp(min=1.0)
        distance = ((faces - given).abs() * counts).flatten(1).sum(dim=1) / (3.0 * n)
        loss = -adversarial * F.softplus(logits)  # log(1 - D(G(z))), D in [0, 1]
        loss = loss + content * self.ranges.content_loss(distance)
        if self.settings.structure:
            similarity = (ssim_map(faces * known, given) * counts).flatten(1).sum(dim=1) / n
            loss = loss + structure * self.ranges.structure_loss(similarity)
        return loss

    def _generated(self, z: Tensor) -> Tensor:
        faces: Tensor = self.generator(z.to(self._dtype)).float()
        return faces

    def _judged(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(faces.to(self._dtype)).float()
        return logits

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.generator.parameters()).dtype


def boundary_weights(masks: Tensor) -> Tensor:
    """W of eq. 7 (B, 1, S, S): 1 + alpha times the share of missing pixels in a block of k x k.

    `masks` are 1 where pixels are missing, O - M in the paper.
    """
    k = BOUNDARY_BLOCK
    share = F.avg_pool2d(masks, k, stride=1, padding=k // 2)
    return 1.0 + BOUNDARY_GAIN * share


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Eq. 2 at every pixel (B, 1, S, S), mean of the channels, of pictures in [-1, 1].

    Black is zero there, since the term of luminance depends on where zero is. With a Gaussian
    window of 11 pixels and deviation 1.5 as Wang et al. have it; pixels outside the picture count
    as the edge's mirror image. Differentiable.
    """
    positions = torch.arange(WINDOW, device=a.device) - WINDOW // 2
    line = torch.exp(-(positions**2) / (2.0 * WINDOW_SIGMA**2))
    line = (line / line.sum()).to(a.dtype)
    channels = a.shape[1]
    a, b = (a + 1.0) / 2.0, (b + 1.0) / 2.0

    def mean(x: Tensor) -> Tensor:
        pad = WINDOW // 2
        x = F.pad(x, (pad, pad, pad, pad), mode="reflect")
        n = x.shape[1]
        x = F.conv2d(x, line.reshape(1, 1, 1, -1).expand(n, 1, 1, -1), groups=n)
        return F.conv2d(x, line.reshape(1, 1, -1, 1).expand(n, 1, -1, 1), groups=n)

    means = mean(torch.cat([a, b, a * a, b * b, a * b], dim=1))
    mean_a, mean_b, square_a, square_b, product = means.split(channels, dim=1)
    c1, c2 = K1**2, K2**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * (product - mean_a * mean_b) + c2)
    variance = square_a - mean_a**2 + square_b - mean_b**2
    likeness = likeness / ((mean_a**2 + mean_b**2 + c1) * (variance + c2))
    similarity: Tensor = likeness.mean(dim=1, keepdim=True)
    return similarity


def search_ranges(generator: DcganGenerator, pictures: Tensor, samples: int) -> SearchRanges:
    """The ranges of III.B between photographs (N, 3, 64, 64) and `samples` generated faces.

    Each generated face is compared with one of the photographs in turn; the paper compares all
    with all, whose mean and deviation are the same.
    """
    similarities, distances = [], []
    device = next(generator.parameters()).device
    per_batch = 64
    with torch.no_grad():
        for start in range(0, samples, per_batch):
            z = torch.randn(min(per_batch, samples - start), N_LATENT)
            faces = generator(z.to(device)).float()
            chosen = torch.arange(start, start + len(faces)) % len(pictures)
            chosen = (chosen + start // per_batch) % len(pictures)
            real = pictures[chosen].to(device)
            similarities.append(ssim_map(faces, real).flatten(1).mean(dim=1))
            distances.append((faces - real).abs().flatten(1).mean(dim=1))
    ranges = SearchRanges()
    for buffer, parts in ((ranges.ssim, similarities), (ranges.content, distances)):
        values = torch.cat(parts)
        mean, deviation = values.mean(), values.std()
        buffer.copy_(torch.stack([mean - 3.0 * deviation, mean + 3.0 * deviation]))
    return ranges


@register(LatentSearch.name)
def build_search(file: CheckpointFile) -> BuiltNet:
    """A search from its checkpoint. Raises CheckpointError."""
    return BuiltNet(read_inpainter(file, LatentSearch, DcganConfig), file.count("images_trained"))
