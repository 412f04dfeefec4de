"""SwapInpaint: a face filled as somebody (Li et al., 2022).

C infers what the hole may show, whoever it is; G puts the source's identity on that face. G is
AP-GAN, or the paper's own, AEI-Net (`aei_net`). I is dlib's face net, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.blending.reference import FusedReference, ReferenceShot
from vidswap.blending.warping import FaceCrop
from vidswap.choices import DetectorName
from vidswap.errors import BadOptionError
from vidswap.faces.align import TEMPLATE_256
from vidswap.faces.boundary_map import draw_boundary_map
from vidswap.faces.detection import Detection
from vidswap.identity.encoder import IdEmbedding
from vidswap.inpainting.aei_net import AeiConfig, AeiNet
from vidswap.inpainting.content import ContentConfig, ContentNet
from vidswap.inpainting.inpainter import Inpainter, read_inpainter
from vidswap.models.checkpoint import load_generator
from vidswap.models.checkpoint_file import CheckpointFile
from vidswap.models.face_net import FaceBatch, FaceNet, NetInputs, reference_tensor
from vidswap.models.registry import BuiltNet, register

SIZE = 256  # pixels
GENERATORS = ("apgan", "aei")
GIVEN = ("inferred", "incomplete")
# Where a face lies in an aligned crop, for the landmark net's first look.
_FACE_BOX = np.array([62.0, 62.0, 194.0, 206.0], np.float32)

Picture = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class SwapInpaintConfig:
    """C as in `ContentConfig`, and which G: "apgan" or "aei", with its channels.

    given: what G gets, "inferred" X^, or for the rows of Table II the "incomplete" face itself.
    """

    content_widths: tuple[int, int, int, int] = ContentConfig().widths
    content_latent: int = ContentConfig().latent
    content_size: int = ContentConfig().size
    generator: str = "apgan"
    aei_widths: tuple[int, int, int, int, int, int, int] = AeiConfig().widths
    given: str = "inferred"

    def __post_init__(self) -> None:
        if self.generator not in GENERATORS:
            raise ValueError(f"generator is none of {', '.join(GENERATORS)}")
        if self.given not in GIVEN:
            raise ValueError(f"given is none of {', '.join(GIVEN)}")


class Filled(NamedTuple):
    """What both stages make of incomplete faces, (B, 3, S, S) each.

    content: X^, C's. swapped: Y_sp, G's, a whole face of the source. meshes: (478, 2) of X^ in
    pixels of 256, None where no face was seen in it.
    """

    content: Tensor
    swapped: Tensor
    meshes: list[Points | None]


class SwapInpaint(Inpainter):
    """I, C and G of Fig. 3; an `Inpainter` of 256 pixels."""

    name: ClassVar[str] = "swapinpaint"
    needs_identity: ClassVar[bool] = True

    def __init__(self, config: SwapInpaintConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SwapInpaintConfig()
        self.content = ContentNet(
            ContentConfig(config.content_widths, config.content_latent, config.content_size)
        )
        self.aei: AeiNet | None = None
        if config.generator == "aei":
            self.aei = AeiNet(AeiConfig(config.aei_widths))
        # Loaded when they are first needed, and kept out of the checkpoint.
        self._loaded: dict[str, Any] = {}

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return SIZE

    @property
    def takes(self) -> NetInputs:
        """Mask and identity; for AP-GAN also a boundary map and the source's face, if known."""
        by_apgan = self.aei is None
        return NetInputs(mask=True, id_embedding=True, boundary_map=by_apgan, reference=by_apgan)

    def swap(self, batch: FaceBatch) -> Tensor:
        """As `fill`; where a run knows the mesh, its boundary maps and references are used."""
        if self.aei is not None or batch.boundary_maps is None:
            return super().swap(batch)
        masks, identity = self.asked(batch)
        content = self.infer_content(batch.targets, masks)
        net = self._generator(content)
        given = FaceBatch(content, batch.boundary_maps, identity, batch.references)
        return net.swap(given).to(content.dtype)

    def fill(self, pictures: Tensor, masks: Tensor, identity: IdEmbedding | None) -> Tensor:
        """`Inpainter.fill`: Y_sp of the identity."""
        if identity is None:
            raise BadOptionError("swapinpaint fills a face as somebody: give --source")
        return self.complete(pictures, masks, identity).swapped

    def infer_content(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """X^ (B, 3, S, S): pictures with what C infers under their masks (B, 1, S, S)."""
        return self.content.content(pictures, masks)

    def complete(
        self,
        pictures: Tensor,
        masks: Tensor,
        identity: IdEmbedding,
        shots: Sequence[Sequence[ReferenceShot]] | None = None,
    ) -> Filled:
        """Both stages for faces (B, 3, S, S); `shots` are each row's source, where shown at all."""
        if self.config.given == "inferred":
            content = self.infer_content(pictures, masks)
        else:
            content = pictures * (1.0 - masks)
        return self.generate(content, identity, shots)

    def generate(
        self,
        content: Tensor,
        identity: IdEmbedding,
        shots: Sequence[Sequence[ReferenceShot]] | None = None,
    ) -> Filled:
        """G's answer to contents (B, 3, S, S)."""
        if self.aei is None:
            return self._by_apgan(content, identity, shots)
        small = F.interpolate(content, (self.aei.size, self.aei.size), mode="area")
        answer = self.aei(small, identity.embedding.to(small.dtype)).float()
        answer = F.interpolate(answer, content.shape[2:], mode="bicubic", align_corners=False)
        return Filled(content, answer.clamp(-1.0, 1.0).to(content.dtype), [None] * len(content))

    def _by_apgan(
        self,
        content: Tensor,
        identity: IdEmbedding,
        shots: Sequence[Sequence[ReferenceShot]] | None,
    ) -> Filled:
        """AP-GAN's answer to whole faces (B, 3, 256, 256); without a mesh a face stays itself."""
        net = self._generator(content)
        crops = to_pictures(content)
        meshes = [self._mesh(crop) for crop in crops]
        blank = np.zeros((SIZE, SIZE, 3), np.uint8)
        maps = np.stack([blank if mesh is None else draw_boundary_map(mesh) for mesh in meshes])
        references = None
        if shots is not None and net.takes.reference:
            views = np.zeros((len(crops), SIZE, SIZE, 4), np.uint8)
            for i, (crop, mesh) in enumerate(zip(crops, meshes, strict=True)):
                if mesh is not None:
                    views[i] = FusedReference(shots[i])(0, FaceCrop(crop, mesh))
            references = reference_tensor(torch.from_numpy(views)).to(content)
        boundary_maps = torch.from_numpy(maps).permute(0, 3, 1, 2).float().to(content) / 255.0
        rows = identity.map(lambda x: x.to(content))
        answer = net.swap(FaceBatch(content, boundary_maps, rows, references)).to(content.dtype)
        seen = torch.tensor([m is not None for m in meshes], device=content.device)
        return Filled(content, torch.where(seen[:, None, None, None], answer, content), meshes)

    def _generator(self, like: Tensor) -> FaceNet:
        """The packaged AP-GAN, on the device and in the number format of a tensor."""
        if "generator" not in self._loaded:
            self._loaded["generator"] = load_generator().net
        net: FaceNet = self._loaded["generator"].to(device=like.device, dtype=like.dtype)
        return net

    def _mesh(self, crop: Picture) -> Points | None:
        """The mesh of an aligned face (256, 256, 3), None where the landmark net sees none."""
        if "finder" not in self._loaded:
            from vidswap.nets import load_detector

            self._loaded["finder"] = load_detector(get_args(DetectorName)[0])[1]
        eyes = TEMPLATE_256[:2].astype(np.float32)
        face = self._loaded["finder"].landmarks(crop, Detection(_FACE_BOX, eyes, 1.0))
        return None if face is None else np.asarray(face.landmarks, np.float32)


def to_pictures(faces: Tensor) -> Picture:
    """Faces (B, 3, S, S) in [-1, 1] as (B, S, S, 3) uint8."""
    pixels = faces.detach().float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


@register(SwapInpaint.name)
def build_swapinpaint(file: CheckpointFile) -> BuiltNet:
    """C, and G where it is AEI-Net, from a checkpoint. Raises CheckpointError."""
    net = read_inpainter(file, SwapInpaint, SwapInpaintConfig)
    return BuiltNet(net, file.count("images_trained"))
