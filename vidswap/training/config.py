"""Configuration of an AP-GAN training run: the default, the paper's own, and Table IV's rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from vidswap.errors import TrainingConfigError
from vidswap.models.apgan.discriminator import DiscriminatorConfig
from vidswap.models.apgan.generator import GeneratorConfig
from vidswap.training.pair_batch import PairConfig

Config = TypeVar("Config")


@dataclass(frozen=True)
class LossWeights:
    """Weights of eq. 11; the identity loss has one weight an encoder."""

    adversarial: float = 2.5
    identity_dlib: float = 2.0
    identity_mobilefacenet: float = 3.0
    identity_apart: float = 4.0
    saturation: float = 1.0
    reconstruction: float = 40.0
    tone: float = 6.0
    expression: float = 1.0
    occlusion: float = 2.0
    style: float = 3.0
    gate: float = 0.3  # of a generator with one: its mean where the reference counts


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    `adversarial` is the form of eq. 5, "hinge" or "log"; rates and betas are Adam's; the averaged
    weights look back over `ema_images`. `identity_jitter` off shows the identity encoders the faces
    as they are. `warm_discriminator_images`: so many images the discriminator alone learns from at
    first, for a generator that has learnt before; they are not counted as seen.
    """

    generator: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(size=128))
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    adversarial: str = "hinge"
    identity_jitter: bool = True
    generator_rate: float = 1e-4
    discriminator_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.99)
    clip_norm: float = 5.0
    ema_images: int = 2000
    warm_discriminator_images: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.adversarial not in ADVERSARIAL_FORMS:
            raise TrainingConfigError(
                f"adversarial is {self.adversarial!r}; allowed: {', '.join(ADVERSARIAL_FORMS)}"
            )
        if self.generator.size != self.pairs.size:
            raise TrainingConfigError(
                f"generator.size is {self.generator.size} but pairs.size is {self.pairs.size}; "
                "give both the same"
            )
        if self.generator.gate and not self.generator.reference:
            raise TrainingConfigError(
                "generator.gate is set but generator.reference is not; a gate chooses between what "
                "the net paints and a reference: set both, or neither"
            )


ADVERSARIAL_FORMS = ("hinge", "log")


def default_config(size: int = 256) -> TrainConfig:
    """What learnt best in few hours; at 256 pixels the finest discriminator is narrow."""
    config = TrainConfig(
        generator=GeneratorConfig(size=size), pairs=PairConfig(size=size, batch=2048 // size)
    )
    if size == 256:
        config = replace(config, discriminator=DiscriminatorConfig(widths=(16, 32, 32)))
    return config


def reference_config() -> TrainConfig:
    """The default at 256 pixels, for a generator that is shown the source's face as well."""
    config = default_config(256)
    return replace(
        config,
        generator=replace(config.generator, reference=True),
        pairs=replace(config.pairs, occluded=0.4, referenced=0.85, across=0.5, keep_across=1.0),
        weights=replace(config.weights, identity_mobilefacenet=3.5, identity_apart=6.5),
    )


def gate_config() -> TrainConfig:
    """`reference_config` for a generator that composes, started from one that paints.

    What is shown carries the likeness, so that identity losses, which paint blotches, pull less:
    all the less as a new discriminator is no match for them. And it is shown in another light, for
    a gate copies what it is shown.
    """
    config = reference_config()
    return replace(
        config,
        generator=replace(config.generator, gate=True),
        pairs=replace(config.pairs, light_noise=0.5),
        weights=replace(
            config.weights, identity_dlib=0.8, identity_mobilefacenet=1.2, identity_apart=1.8,
            expression=0.6, tone=10.0, gate=0.5,
        ),
        generator_rate=4e-5,
        warm_discriminator_images=2400,
    )  # fmt: skip


def paper_config(size: int = 256) -> TrainConfig:
    """The setting that III.C and IV.A print, where they print it.

    One identity encoder (dlib's instead of one trained on DeepGlint), faces shown to it as they
    are, spectral normalisation in both nets, lambda_1 = 0.1 over the whole picture. The paper's
    beta_2 = 0 would make Adam's step the sign of the gradient; 0.9 is used, the smallest that the
    GANs it follows (SAGAN, BigGAN) are known with being 0.9 to 0.999.
    """
    config = default_config(size)
    return replace(
        config,
        generator=replace(config.generator, spectral_norm=True),
        discriminator=DiscriminatorConfig(spectral_norm=True, core_width=0),
        pairs=replace(
            config.pairs, same_picture=0.25, swap_back=0.0, warped=0.0, across=0.0, same_person=0.0,
            bare_sources=False, occluded=0.0, degraded=0.0, sharp_targets=0.0,
            shut_eyes=0.0, keep_face=0.1, keep_features=0.1, keep_outside=0.1,
        ),
        weights=LossWeights(
            adversarial=2.0, identity_dlib=10.0, identity_mobilefacenet=0.0, identity_apart=0.0,
            saturation=0.0, reconstruction=10.0, tone=0.0, expression=0.0,
            occlusion=1.0, style=3.0,
        ),
        adversarial="log",
        identity_jitter=False,
        generator_rate=1e-4,
        discriminator_rate=4e-4,
        betas=(0.0, 0.9),
    )  # fmt: skip


def _without_pe_blocks(config: TrainConfig) -> TrainConfig:
    return replace(config, generator=replace(config.generator, pe_blocks=False))


def _without_pe_aware(config: TrainConfig) -> TrainConfig:
    return replace(config, discriminator=replace(config.discriminator, pe_aware=False))


def _without_layer_norm(config: TrainConfig) -> TrainConfig:
    return replace(config, generator=replace(config.generator, layer_norm=False))


def _without_occlusion(config: TrainConfig) -> TrainConfig:
    return replace(config, weights=replace(config.weights, occlusion=0.0))


def _without_style(config: TrainConfig) -> TrainConfig:
    return replace(config, weights=replace(config.weights, style=0.0))


# Table IV from its last row upward: each row takes one component more away.
_TABLE_IV: tuple[Callable[[TrainConfig], TrainConfig], ...] = (
    _without_style,
    _without_occlusion,
    _without_layer_norm,
    _without_pe_aware,
    _without_pe_blocks,
)
TABLE_IV_ROWS = ("none", "pe-blocks", "+pe-aware-d", "+adalin", "+l-op", "+l-sp")


def table_iv_config(row: str, config: TrainConfig) -> TrainConfig:
    """`config` with the components of one row of Table IV. Raises TrainingConfigError."""
    if row not in TABLE_IV_ROWS:
        raise TrainingConfigError(f"row {row!r}; allowed: {', '.join(TABLE_IV_ROWS)}")
    for take_away in _TABLE_IV[: len(TABLE_IV_ROWS) - 1 - TABLE_IV_ROWS.index(row)]:
        config = take_away(config)
    return config


NAMED_CONFIGS: dict[str, Callable[[], TrainConfig]] = {
    "apgan-128": lambda: default_config(128),
    "apgan-256": lambda: default_config(256),
    "apgan-256-ref": reference_config,
    "apgan-256-gate": gate_config,
    "paper-128": lambda: paper_config(128),
    "paper-256": lambda: paper_config(256),
}


def read_config(name_or_path: str) -> TrainConfig:
    """A named configuration, or a JSON file's; raises TrainingConfigError."""
    return read_config_of(name_or_path, NAMED_CONFIGS, "apgan-256")


def config_from_json(text: str) -> TrainConfig:
    """A TrainConfig from JSON that names only what differs from `base`, a named configuration."""
    return config_of_json(text, NAMED_CONFIGS, "apgan-256")


def read_config_of(
    name_or_path: str, named: Mapping[str, Callable[[], Config]], default_base: str
) -> Config:
    """One of the `named` configurations, or that of a JSON file; raises TrainingConfigError."""
    if name_or_path in named:
        return named[name_or_path]()
    path = Path(name_or_path)
    if not path.is_file():
        raise TrainingConfigError(
            f"{name_or_path}: no such file and no named configuration; named: {', '.join(named)}"
        )
    try:
        return config_of_json(path.read_text(encoding="utf-8"), named, default_base)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TrainingConfigError(f"{path}: not JSON ({error})") from error
    except TrainingConfigError as error:
        raise TrainingConfigError(f"{path}: {error}") from error


def config_of_json(
    text: str, named: Mapping[str, Callable[[], Config]], default_base: str
) -> Config:
    """A configuration from JSON that names only what differs from its `base`, one of `named`."""
    given = json.loads(text)
    if not isinstance(given, Mapping):
        raise TrainingConfigError("the configuration is no JSON object")
    base = given.get("base", default_base)
    if base not in named:
        raise TrainingConfigError(f"base {base!r}; allowed: {', '.join(named)}")
    rest = {name: value for name, value in given.items() if name != "base"}
    return _replaced(named[base](), rest, "")


def _replaced(config: Config, given: Mapping[str, Any], prefix: str) -> Config:
    assert is_dataclass(config) and not isinstance(config, type)
    known = {f.name: getattr(config, f.name) for f in fields(config)}
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise TrainingConfigError(
                f"{prefix}{name} is no setting; allowed: {', '.join(sorted(known))}"
            )
        if is_dataclass(known[name]):
            if not isinstance(value, Mapping):
                raise TrainingConfigError(f"{prefix}{name} is {value!r}; expected an object")
            changes[name] = _replaced(known[name], value, f"{prefix}{name}.")
        else:
            changes[name] = _checked(_tuples(value), known[name], f"{prefix}{name}")
    changed: Config = replace(config, **changes)
    return changed


def _checked(value: Any, default: Any, name: str) -> Any:
    """A setting's value when it is of the type of its default; whole numbers pass as floats."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise TrainingConfigError(
            f"{name} is {value!r}; expected {type(default).__name__} as in {default!r}"
        )
    return value


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples a frozen configuration holds."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
