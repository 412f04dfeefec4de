"""Train AP-GAN from shards of aligned faces (AP-GAN, III.C).

    python -m pipelines.train_apgan --faces FOLDER --encoder2 FILE.tflite --run runs/apgan

resumes the run from its last state, and writes the state every few minutes and on SIGTERM.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidswap.identity.encoder import IdentityEncoder, dlib_crop
from vidswap.models.apgan import Generator, GeneratorConfig
from vidswap.models.apgan_discriminator import Discriminator
from vidswap.training.face_shards import cached_faces, read_index, read_landmarks
from vidswap.training.graph_readers import read_tflite
from vidswap.training.id_targets import (
    MobileFaceNet,
    cached_id_embeddings,
    cached_mobilefacenet,
    split_embedding,
)
from vidswap.training.losses import (
    apart_from_target,
    discriminator_hinge,
    generator_hinge,
    occlusion_perceptual,
    random_degradation,
    random_jitter,
    reconstruction,
    saturation,
    style_perceptual,
)
from vidswap.training.pairs import PairBatch, PairConfig, PairSampler, prefetched

SAVE_MINUTES = 8.0  # between two writes of the state


@dataclass(frozen=True)
class LossWeights:
    """Weights of eq. 11; the identity loss has one weight an encoder."""

    adversarial: float = 2.0
    identity_dlib: float = 4.0
    identity_mobilefacenet: float = 4.0
    reconstruction: float = 40.0
    identity_apart: float = 2.0
    saturation: float = 1.0
    occlusion: float = 2.0
    style: float = 3.0


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Rates are Adam's; `ema_images` is the horizon of the averaged weights."""

    generator: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(size=128))
    pairs: PairConfig = field(default_factory=PairConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    discriminator_widths: tuple[int, ...] = (32, 32, 24)
    generator_rate: float = 4e-4
    discriminator_rate: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.99)
    clip_norm: float = 5.0
    ema_images: int = 4000
    seed: int = 1


class Trainer:
    """Generator, discriminator, their optimisers and the averaged generator."""

    def __init__(
        self,
        config: TrainConfig,
        id_rows: NDArray[np.float32],
        mobilefacenet_rows: NDArray[np.float32],
        mobilefacenet: MobileFaceNet,
        device: torch.device,
    ) -> None:
        self.config, self.device = config, device
        torch.manual_seed(config.seed)
        self.generator = Generator(config.generator)
        _set_id_statistics(self.generator, id_rows)
        self.average = Generator(config.generator).requires_grad_(False)
        self.average.load_state_dict(self.generator.state_dict())
        self.discriminator = Discriminator(config.discriminator_widths)
        for net in (self.generator, self.average, self.discriminator):
            net.to(device=device)
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.encoder = IdentityEncoder().to(device).requires_grad_(False)
        self.mobilefacenet = mobilefacenet.to(device)
        self.id_rows = torch.from_numpy(np.array(id_rows)).to(device)
        self.mobilefacenet_rows = torch.from_numpy(np.array(mobilefacenet_rows)).to(device)
        self.generator_optimiser = torch.optim.Adam(
            self.generator.parameters(), config.generator_rate, config.betas
        )
        self.discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), config.discriminator_rate, config.betas
        )
        self.images = 0

    def step(self, batch: PairBatch) -> dict[str, float]:
        """One update of the discriminator and one of the generator; the losses, for the log."""
        device, weights = self.device, self.config.weights
        targets = batch.targets.to(device, memory_format=torch.channels_last)
        maps = batch.boundary_maps.to(device, memory_format=torch.channels_last)
        keep = batch.keep.to(device)
        sources = batch.sources.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            identity = split_embedding(self.id_rows[sources])
            logits = self.generator.logits(targets, maps, identity)
            outputs = torch.tanh(logits).contiguous(memory_format=torch.channels_last)

            self.discriminator.requires_grad_(True)
            real = self.discriminator(targets, maps)
            loss_d = discriminator_hinge(real, self.discriminator(outputs.detach(), maps))
            self._update(self.discriminator_optimiser, self.discriminator, loss_d)

            self.discriminator.requires_grad_(False)
            # The real features are those of just before the discriminator's update: one pass less.
            fake = self.discriminator(outputs, maps)
            # A face reconstructed from itself has its identity by the reconstruction loss.
            n = batch.n_same_picture
            to_dlib, to_mobilefacenet, apart = self._identity_losses(
                outputs[n:], sources[n:], batch.target_rows.to(device)[n:]
            )
            terms = {
                "adversarial": generator_hinge(fake),
                "identity_dlib": to_dlib,
                "identity_mobilefacenet": to_mobilefacenet,
                "identity_apart": apart,
                "saturation": saturation(logits),
                "reconstruction": reconstruction(outputs, targets, keep),
                "occlusion": occlusion_perceptual(real, fake, keep.sqrt()),
                "style": style_perceptual(real, fake),
            }
            loss_g = torch.stack([getattr(weights, k) * v for k, v in terms.items()]).sum()
            gradient_norm = self._update(self.generator_optimiser, self.generator, loss_g)
        self._move_average(len(targets))
        self.images += len(targets)
        return {
            "discriminator": float(loss_d.detach()),
            "gradient_norm": gradient_norm,
            **{name: float(value.detach()) for name, value in terms.items()},
        }

    def _identity_losses(
        self, outputs: Tensor, sources: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 6 with two encoders of different make, each on jittered views of half of the faces.

        The encoders cost as much as the discriminators; every face still meets either one.
        """
        n = outputs.shape[0]
        order = torch.randperm(n, device=outputs.device)
        outputs, sources, targets = outputs[order], sources[order], targets[order]
        views = random_jitter(n, scale=0.06, rotation=0.08, shift=0.05).to(outputs.device)
        half = n // 2
        dlib_view = random_degradation(dlib_crop(outputs[:half], views[:half]))
        embedding = self.encoder.embed_faces(dlib_view).embedding.float()
        wanted = split_embedding(self.id_rows[sources[:half]]).embedding
        shown = split_embedding(self.id_rows[targets[:half]]).embedding
        # dlib's net is trained for Euclidean distance, where 0.6 parts two people.
        identity_dlib = ((embedding - wanted) ** 2).sum(dim=1).mean()
        apart = apart_from_target(embedding, wanted, shown)
        embedding = self.mobilefacenet(random_degradation(outputs[half:]), views[half:]).float()
        wanted = self.mobilefacenet_rows[sources[half:]]
        shown = self.mobilefacenet_rows[targets[half:]]
        identity_mobilefacenet = (1.0 - F.cosine_similarity(embedding, wanted)).mean()
        apart = apart + apart_from_target(embedding, wanted, shown)
        return identity_dlib, identity_mobilefacenet, apart

    def _update(
        self, optimiser: torch.optim.Optimizer, net: torch.nn.Module, loss: Tensor
    ) -> float:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), self.config.clip_norm))
        if math.isfinite(norm):
            optimiser.step()
        return norm

    def _move_average(self, batch: int) -> None:
        # Short at first: the horizon is at most a fifth of what has been seen.
        horizon = min(self.config.ema_images, max(batch, self.images // 5))
        decay = 1.0 - batch / max(horizon, batch + 1)
        with torch.no_grad():
            for mean, current in zip(
                self.average.parameters(), self.generator.parameters(), strict=True
            ):
                mean.lerp_(current, 1.0 - decay)

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimiser": self.generator_optimiser.state_dict(),
            "discriminator_optimiser": self.discriminator_optimiser.state_dict(),
            "images": self.images,
            "torch_rng": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from `state()`. Weights of a 128-pixel run carry over to a 256-pixel one."""
        same_size = state["generator"].keys() == self.generator.state_dict().keys()
        for name in ("generator", "average"):
            missing, unexpected = getattr(self, name).load_state_dict(state[name], strict=False)
            if unexpected or (same_size and missing):
                raise ValueError(f"state of another architecture: {unexpected or missing}")
        if not same_size:
            # What saw 128 pixels goes on seeing 128; only the finest scale is new.
            grown = grow_discriminator(self.discriminator.state_dict(), state["discriminator"])
            self.discriminator.load_state_dict(grown)
        else:
            self.discriminator.load_state_dict(state["discriminator"])
            self.generator_optimiser.load_state_dict(state["generator_optimiser"])
            self.discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])
            for optimiser, rate in (
                (self.generator_optimiser, self.config.generator_rate),
                (self.discriminator_optimiser, self.config.discriminator_rate),
            ):
                for group in optimiser.param_groups:
                    group["lr"] = rate
        self.images = state["images"]
        torch.set_rng_state(state["torch_rng"])


def grow_discriminator(large: dict[str, Tensor], small: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for twice the picture size: each scale of `small` moves to the next coarser place.

    Tensors whose shape does not fit keep `large`'s values, as does the new finest scale.
    """
    grown = dict(large)
    for name, tensor in small.items():
        prefix, index, rest = name.split(".", 2)
        moved = f"{prefix}.{int(index) + 1}.{rest}"
        if moved in large and large[moved].shape == tensor.shape:
            grown[moved] = tensor
    return grown


def _set_id_statistics(generator: Generator, id_rows: NDArray[np.float32]) -> None:
    identity = split_embedding(torch.from_numpy(np.array(id_rows)))
    raw = torch.cat([identity.vector, *identity.features], dim=1)
    generator.id_mean.copy_(raw.mean(dim=0))
    generator.id_std.copy_(raw.std(dim=0).clamp(min=1e-3))


def picture_sheet(
    trainer: Trainer, faces: NDArray[np.uint8], batch: PairBatch
) -> NDArray[np.uint8]:
    """Sources, targets and swaps of the averaged generator, a row each: uint8 RGB."""
    with torch.inference_mode(), torch.autocast(trainer.device.type, torch.bfloat16):
        identity = split_embedding(trainer.id_rows[batch.sources.to(trainer.device)])
        outputs = trainer.average(
            batch.targets.to(trainer.device), batch.boundary_maps.to(trainer.device), identity
        )
    rows = [np.concatenate([faces[int(i)] for i in batch.sources], axis=1)]
    for pictures in (batch.targets, outputs.cpu()):
        uint8 = ((pictures.float().permute(0, 2, 3, 1).numpy() + 1.0) * 127.5).round()
        rows.append(np.concatenate(list(uint8.clip(0, 255).astype(np.uint8)), axis=1))
    return np.concatenate(rows, axis=0)


def train(
    config: TrainConfig, faces_folder: Path, encoder2: Path, run: Path, minutes: float
) -> None:
    """Train for at most `minutes`, resuming from `run/state.pt` when it is there."""
    run.mkdir(parents=True, exist_ok=True)
    cache = run.parent / "cache"
    records = read_index(faces_folder)
    faces = cached_faces(faces_folder, cache, config.pairs.size)
    landmarks, mesh_index = read_landmarks(faces_folder)
    mobilefacenet = MobileFaceNet(read_tflite(encoder2))
    full_size = cached_faces(faces_folder, cache, 256)
    id_rows = cached_id_embeddings(full_size, IdentityEncoder(), cache)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(
        config,
        id_rows,
        cached_mobilefacenet(full_size, mobilefacenet, cache),
        mobilefacenet,
        device,
    )
    state_path = run / "state.pt"
    if state_path.is_file():
        trainer.load_state(torch.load(state_path, map_location="cpu", weights_only=True))
    seed = config.seed + trainer.images
    sampler = PairSampler(faces, landmarks, mesh_index, records, config.pairs, seed)
    fixed = PairSampler(faces, landmarks, mesh_index, records, config.pairs, 12345).batch()
    (run / "config.json").write_text(json.dumps(asdict(config), indent=1))
    _loop(trainer, prefetched(sampler), faces, fixed, run, minutes)


def _loop(
    trainer: Trainer,
    batches: Iterator[PairBatch],
    faces: NDArray[np.uint8],
    fixed: PairBatch,
    run: Path,
    minutes: float,
) -> None:
    stop = _StopOnSignal()
    start = saved = time.monotonic()
    images_at_start = trainer.images
    sums: dict[str, float] = {}
    n_steps = 0
    while not stop.requested and time.monotonic() - start < 60 * minutes:
        losses = trainer.step(next(batches))
        n_steps += 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value
        if n_steps % 50 == 0:
            rate = (trainer.images - images_at_start) / (time.monotonic() - start)
            line = {"images": trainer.images, "images_per_second": round(rate, 2)}
            line |= {name: round(value / 50, 5) for name, value in sums.items()}
            sums = {}
            with (run / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        if n_steps % 250 == 0:
            sheet = picture_sheet(trainer, faces, fixed)
            path = run / f"sheet-{trainer.images:07d}.png"
            cv2.imwrite(str(path), np.ascontiguousarray(sheet[:, :, ::-1]))
        if time.monotonic() - saved > 60 * SAVE_MINUTES:
            save_state(trainer, run)
            saved = time.monotonic()
    save_state(trainer, run)


def save_state(trainer: Trainer, run: Path) -> None:
    """Write the state so that a kill in the middle leaves the previous one whole."""
    partial = run / "state.part"
    torch.save(trainer.state(), partial)
    partial.replace(run / "state.pt")


class _StopOnSignal:
    """Set by SIGTERM or Ctrl-C; the loop then saves and leaves."""

    def __init__(self) -> None:
        self.requested = False
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGINT, self._request)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def config_from_json(text: str) -> TrainConfig:
    """A TrainConfig from JSON that names only what differs from the defaults."""
    given = json.loads(text)
    config = TrainConfig()
    parts: dict[str, Any] = {
        "generator": config.generator,
        "pairs": config.pairs,
        "weights": config.weights,
    }
    for name, part in parts.items():
        if name in given:
            given[name] = replace(part, **{k: _tuples(v) for k, v in given[name].items()})
    return replace(config, **{name: _tuples(value) for name, value in given.items()})


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples a frozen configuration holds."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@click.command()
@click.option("--faces", type=click.Path(path_type=Path), required=True)
@click.option("--encoder2", type=click.Path(path_type=Path), required=True)
@click.option("--run", type=click.Path(path_type=Path), required=True)
@click.option("--config", type=click.Path(path_type=Path, exists=True))
@click.option("--minutes", default=1e9, show_default=False)
def main(faces: Path, encoder2: Path, run: Path, config: Path | None, minutes: float) -> None:
    """Train AP-GAN, resuming RUN when it has a state."""
    cv2.setNumThreads(1)
    text = config.read_text() if config else "{}"
    train(config_from_json(text), faces, encoder2, run, minutes)


if __name__ == "__main__":
    main()
