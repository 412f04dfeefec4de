"""What a swap says of itself in its output: the container's marks and the C2PA manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vidswap.media.marks import MARK_PREFIX
from vidswap.media.output import work_name
from vidswap.media.picture import Picture, is_picture, write_picture
from vidswap.media.sequence import is_pattern
from vidswap.options import names_where
from vidswap.provenance.manifest import SwapFacts, SwapManifest, check_signing, media_type
from vidswap.provenance.signing_key import SigningKey, load_signing_key, local_signing_key
from vidswap.swap.options import SwapOptions

MANIFEST_MARK = f"{MARK_PREFIX}manifest"
HAS_MANIFEST = "c2pa"


def signing_key(
    output: Path, sign_key: Path | None, sign_cert: Path | None, no_provenance: str | None
) -> SigningKey | None:
    """The key to sign `output` with, tried out; None where it gets no manifest.

    Raises SigningKeyError, MissingLibraryError.
    """
    if no_provenance is not None:
        return None
    given = sign_key is not None and sign_cert is not None
    if media_type(output) is None and not given:
        return None
    key = load_signing_key(sign_key, sign_cert) if sign_key and sign_cert else local_signing_key()
    check_signing(key)
    return key if media_type(output) is not None else None


class Provenance:
    """The manifest of one output, or why it has none; finishes files either way.

    marks: what the container's metadata say of the manifest. label: the manifest's, once it is
    in the output. Close it, or leave its `with` block.
    """

    def __init__(
        self,
        output: Path,
        facts: SwapFacts | None = None,
        key: SigningKey | None = None,
        reason: str | None = None,
    ) -> None:
        self.output = output
        self.label: str | None = None
        self.signer = key.signer if key is not None else None
        self._manifest = SwapManifest(facts, key) if facts is not None and key is not None else None
        self._key_warning = key.warning if key is not None else None
        self._reason = reason

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._manifest is not None:
            self._manifest.close()

    @property
    def marks(self) -> dict[str, str]:
        """The mark that tells a file without manifest from one that has lost it."""
        if self._manifest is not None:
            return {MANIFEST_MARK: HAS_MANIFEST}
        whose = "frames of a sequence" if self._is_frames else f"{self.output.suffix} files"
        reason = self._reason or f"{whose} hold no C2PA manifest"
        return {MANIFEST_MARK: f"none: {reason}"}

    @property
    def _is_frames(self) -> bool:
        return is_pattern(self.output) or not self.output.suffix

    @property
    def warnings(self) -> list[str]:
        """What to tell the user once a face was swapped."""
        if self._manifest is None and self._reason is None:
            suffix = self.output.suffix
            if self._is_frames:
                return [
                    f"{self.output}: frames of a sequence get no C2PA manifest; only their "
                    "metadata say that the face is synthetic"
                ]
            words = "only their metadata says that the face is synthetic"
            if suffix.lower() == ".bmp":
                words = "nor metadata: nothing in it says that the face is synthetic"
            return [f"{self.output}: {suffix} files hold no C2PA manifest; {words}"]
        return [self._key_warning] if self._key_warning else []

    def close_clip(self, writer: CompletedLater, swapped: bool) -> None:
        """Complete the writer's file, sign it, and only then give it its name."""
        if self._manifest is None:
            writer.close()
            return
        # The writer completes its file under a name of its own; the output's comes from signing.
        unsigned = _unsigned_path(self.output)
        writer.path = unsigned
        try:
            writer.close()
            self.label = self._manifest.sign(unsigned, self.output, swapped)
        finally:
            unsigned.unlink(missing_ok=True)

    def write_picture(
        self,
        rgb: NDArray[np.uint8],
        marks: Mapping[str, str],
        overwrite: bool,
        like: Picture | None = None,
    ) -> None:
        """Write a swapped picture (H, W, 3) uint8 RGB and sign it; `like` as in `write_picture`."""
        self.write_file(
            lambda path, over: write_picture(path, rgb, marks, overwrite=over, like=like), overwrite
        )

    def write_file(self, write: Callable[[Path, bool], None], overwrite: bool) -> None:
        """Let `write` make the file under a name, overwriting or not, and sign it."""
        if self._manifest is None:
            write(self.output, overwrite)
            return
        unsigned = _unsigned_path(self.output)
        try:
            write(unsigned, True)
            self.label = self._manifest.sign(unsigned, self.output)
        finally:
            unsigned.unlink(missing_ok=True)


class CompletedLater(Protocol):
    """A writer whose file gets the name `path` when it is closed."""

    path: Path

    def close(self) -> None: ...


def files_used(sources: Sequence[Path], used: Iterable[str]) -> list[Path]:
    """The source files among whose frames (`SourceIdentity.used`) one went into the identity."""
    names = {part for name in used for part in (name, name.split(" at ")[0], name.split(": ")[0])}
    files: list[Path] = []
    for source in sources:
        inside = sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
        files += [p for p in inside if p.name in names and (p is source or is_picture(p))]
    return files


def recorded_settings(
    options: Mapping[str, Any], owner: type[SwapOptions] = SwapOptions
) -> dict[str, Any]:
    """The settings of a swap as marks and manifest tell them: of files only the names.

    `owner` is the class that they are the options of.
    Where a file lies, which key signed, how work was kept, what memory it may take and what
    decoded the target to the same samples say nothing of the swap.
    """
    recorded = names_where(owner, "recorded")
    return {
        name: value.name if isinstance(value, Path) else value
        for name, value in options.items()
        if name in recorded
    }


def _unsigned_path(output: Path) -> Path:
    return output.with_name(f".{work_name(output, output.stem)}.unsigned{output.suffix}")
