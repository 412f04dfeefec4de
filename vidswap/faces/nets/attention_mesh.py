"""Attention Mesh: 478 landmarks of one face, lips, eyes and irises refined.

Grishchenko et al. 2020, "Attention Mesh: High-fidelity Face Mesh Prediction in Real-time",
arXiv:2006.10962. A first mesh of 468 points says where lips and eyes are; three crops of a feature
map, turned upright, give their points again, and those of the irises.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidswap.faces.nets.layers import SameConv2d, SeparableBlock

INPUT_SIZE = 192  # pixels
INPUT_RANGE = (0.0, 1.0)
N_MESH = 468
N_LANDMARKS = 478

# Refined points by their number in the mesh, in the order in which the net gives them.
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
RIGHT_EYE = (  # the person's right, left in the picture
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24,
    23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233,
    244, 113, 225, 224, 223, 222, 221, 189, 35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120,
    121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
LEFT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339,
    254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451,
    452, 453, 464, 342, 445, 444, 443, 442, 441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346,
    347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip
RIGHT_IRIS, LEFT_IRIS = tuple(range(468, 473)), tuple(range(473, 478))
N_RIM = 16  # the first points of an eye, on its rim: their mean depth is the iris's

_REGIONS = (LIPS, RIGHT_EYE, LEFT_EYE)
_ROTATION = ((61, 291), (33, 133), (362, 263))  # two points of each region on a level line
CROP_SIZE = 16  # pixels of a region's crop
CROP_SCALE = 1.5  # sides of the crop in sides of the region
FEATURE_STRIDE = 4  # input pixels per pixel of the feature map that is cropped
REGION_OF_PART = (0, 1, 1, 2, 2)  # lips, right eye, right iris, left eye, left iris
_TRUNK = ((32, 3), (64, 3), (128, 3), (128, 3), (128, 3))  # channels and blocks of each scale


class AttentionMesh(nn.Module):
    """Faces (B, 3, 192, 192) in [0, 1] to landmarks and the logit of a face's presence."""

    region_points: Tensor
    rotation_points: Tensor
    sources: Tensor
    rims: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 16, 3, stride=2)
        self.stem_activation = nn.PReLU(16)
        self.early = nn.Sequential(
            SeparableBlock(16, 16), SeparableBlock(16, 16), SeparableBlock(16, 32, stride=2)
        )
        blocks: list[nn.Module] = []
        in_channels = 32
        for scale, (channels, count) in enumerate(_TRUNK):
            for index in range(count):
                if scale == 0 and index == 0:
                    continue  # the last of `early`
                stride = 2 if index == 0 else 1
                blocks.append(SeparableBlock(in_channels, channels, stride))
                in_channels = channels
        self.trunk = nn.Sequential(*blocks)
        self.neck = Neck(128)
        self.mesh = nn.Conv2d(32, N_MESH * 3, 3)
        self.presence = nn.Conv2d(32, 1, 3)
        # Lips and both eyes side by side, then lips, right eye, right iris, left eye, left iris.
        self.regions = nn.Sequential(
            *(SeparableBlock(3 * 32, 3 * 32, groups=3) for _ in range(2)),
            SeparableBlock(3 * 32, 3 * 64, stride=2, groups=3),
            *(SeparableBlock(3 * 64, 3 * 64, groups=3) for _ in range(2)),
            SeparableBlock(3 * 64, 3 * 128, stride=2, groups=3),
        )
        self.parts = nn.Sequential(
            *(SeparableBlock(5 * 128, 5 * 128, groups=5) for _ in range(2)),
            SeparableBlock(5 * 128, 5 * 128, stride=2, groups=5),
            *(SeparableBlock(5 * 128, 5 * 128, groups=5) for _ in range(2)),
            Neck(128, groups=5),
        )
        self.points = nn.ModuleList(
            nn.Conv2d(32, 2 * len(part), 2)
            for part in (LIPS, RIGHT_EYE, RIGHT_IRIS, LEFT_EYE, LEFT_IRIS)
        )
        longest = max(len(region) for region in _REGIONS)
        padded = [(*region, *[region[0]] * (longest - len(region))) for region in _REGIONS]
        self.register_buffer("region_points", torch.tensor(padded), persistent=False)
        self.register_buffer("rotation_points", torch.tensor(_ROTATION), persistent=False)
        self.register_buffer("sources", _sources(), persistent=False)
        rims = torch.tensor([RIGHT_EYE[:N_RIM], LEFT_EYE[:N_RIM]])
        self.register_buffer("rims", rims, persistent=False)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (B, 478, 3), x and y from the input's corner and z in its pixels; logits (B,).

        z is smaller the nearer a point is.
        """
        features = self.early(self.stem_activation(self.stem(faces)))
        x = self.neck(self.trunk(features))
        mesh, presence = self.mesh(x).reshape(-1, N_MESH, 3), self.presence(x).reshape(-1)
        affines = self.region_affines(mesh)
        x = self.regions(crops(features, affines).flatten(1, 2))
        lips, right, left = x.unflatten(1, (3, -1)).unbind(1)
        x = self.parts(torch.cat([lips, right, right, left, left], dim=1))
        refined = [
            layer(part).reshape(x.shape[0], -1, 2)
            for layer, part in zip(self.points, x.unflatten(1, (5, -1)).unbind(1), strict=True)
        ]
        return self.refine(mesh, refined, affines), presence

    def region_affines(self, mesh: Tensor) -> Tensor:
        """Affines (B, 3, 2, 3) from a region's crop to the feature map, for meshes (B, 468, 3)."""
        points = mesh[:, :, :2] / FEATURE_STRIDE
        ends = points[:, self.rotation_points]
        right = F.normalize(ends[:, :, 1] - ends[:, :, 0], dim=2)
        down = torch.stack([-right[:, :, 1], right[:, :, 0]], dim=2)
        axes = torch.stack([right, down], dim=3)  # columns
        turned = points[:, self.region_points] @ axes
        low, high = turned.amin(dim=2), turned.amax(dim=2)
        centre = axes @ ((low + high) / 2)[:, :, :, None]
        linear = axes * ((high - low) * (CROP_SCALE / CROP_SIZE))[:, :, None, :]
        shift = centre - linear.sum(dim=3, keepdim=True) * (CROP_SIZE / 2)
        return torch.cat([linear, shift], dim=3)

    def refine(self, mesh: Tensor, parts: list[Tensor], affines: Tensor) -> Tensor:
        """Landmarks (B, 478, 3) from the mesh (B, 468, 3) and the five parts (B, N, 2)."""
        # Parts count in the input's pixels, like the mesh: only the shift is in features'.
        xy = [mesh[:, :, :2]] + [
            points @ affines[:, region, :, :2].mT + affines[:, region, None, :, 2] * FEATURE_STRIDE
            for points, region in zip(parts, REGION_OF_PART, strict=True)
        ]
        z = mesh[:, :, 2]
        iris_z = z[:, self.rims].mean(dim=2).repeat_interleave(5, dim=1)
        refined = torch.cat(xy, dim=1)[:, self.sources]
        return torch.cat([refined, torch.cat([z, iris_z], dim=1)[:, :, None]], dim=2)


class Neck(nn.Sequential):
    """From `channels` to 32 per group, and one block more."""

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(groups * channels, groups * 32, 1, groups=groups),
            nn.PReLU(groups * 32),
            SeparableBlock(groups * 32, groups * 32, groups=groups),
        )


def crops(features: Tensor, affines: Tensor) -> Tensor:
    """The three regions (B, 3, C, 16, 16) of a feature map (B, C, S, S).

    `affines` (B, 3, 2, 3) count from the corners of pixels. A sample that is not between four
    pixels of the map is zero.
    """
    batch, channels, size = features.shape[:3]
    steps = torch.arange(CROP_SIZE, device=features.device, dtype=features.dtype) + 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    pixels = torch.stack([x, y], dim=2).reshape(-1, 2)
    at = pixels @ affines[..., :2].mT + affines[:, :, None, :, 2] - 0.5
    inside = ((at >= 0) & (at <= size - 1)).all(dim=3, keepdim=True)
    grid = torch.where(inside, at * (2.0 / (size - 1)) - 1.0, 3.0)
    grid = grid.reshape(batch, 3 * CROP_SIZE, CROP_SIZE, 2)
    regions = F.grid_sample(features, grid, align_corners=True)
    return regions.reshape(batch, channels, 3, CROP_SIZE, CROP_SIZE).transpose(1, 2)


def _sources() -> Tensor:
    """For each of the 478 points, its place in the mesh followed by the five refined parts."""
    sources = list(range(N_MESH)) + [0] * (N_LANDMARKS - N_MESH)
    place = N_MESH
    for part in (LIPS, RIGHT_EYE, RIGHT_IRIS, LEFT_EYE, LEFT_IRIS):
        for point in part:
            sources[point] = place
            place += 1
    return torch.tensor(sources)
