"""A C2PA manifest in a result: what was done, from what, by which net, signed (c2pa.org, 2.x).

The library copies the file with the manifest in it; the coded streams are not touched.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from vidswap.errors import DiskFullError, MissingLibraryError, SigningKeyError
from vidswap.media.output import temporary_path, writing_errors
from vidswap.provenance.signing_key import SigningKey

SWAP_ASSERTION = "vidswap.swap"
DIGITAL_SOURCE_TYPE = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
MEDIA_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime",
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
    ".tif": "image/tiff", ".tiff": "image/tiff", ".gif": "image/gif",
}  # fmt: skip
_OPAQUE = "application/octet-stream"  # the library looks for no manifest in it
MAX_SOURCES = 16  # as ingredients; the hashes of all are in the assertion
# Nothing is fetched: neither manifests that a file only points to, nor lists of revoked keys.
_SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
    "core": {"backing_store_memory_threshold_in_mb": 64},
}


@dataclass(frozen=True)
class SwapFacts:
    """What a manifest says of a swap.

    target, sources: the files, whose SHA-256 are in `sha256`, in hexadecimal digits as that of the
    checkpoint is. settings: what JSON can hold. people: who got which sources, of a cast.
    """

    target: Path
    sources: Sequence[Path]
    sha256: Mapping[Path, str]
    version: str
    checkpoint_sha256: str
    settings: Mapping[str, Any]
    people: Sequence[Mapping[str, Any]] = ()


def media_type(path: Path) -> str | None:
    """The MIME type of an output that can hold a manifest, None for one that cannot."""
    return MEDIA_TYPES.get(path.suffix.lower())


def c2pa_context(trust_anchors: str | None = None) -> Any:
    """The library's settings; `trust_anchors` are PEM certificates whose signers are trusted."""
    c2pa = load_c2pa()
    trust = {"trust": {"trust_anchors": trust_anchors}} if trust_anchors else {}
    return c2pa.Context.from_dict({**_SETTINGS, **trust})


def load_c2pa() -> Any:
    """The c2pa module. Raises MissingLibraryError where it cannot be loaded."""
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingLibraryError(
            f"c2pa-python cannot be loaded ({error}); pip install c2pa-python==0.38.1, "
            "or give --no-provenance REASON"
        ) from error
    return c2pa


def check_signing(key: SigningKey) -> None:
    """Sign a small picture in memory, so that a key C2PA refuses is known before any work.

    Raises SigningKeyError, MissingLibraryError.
    """
    c2pa = load_c2pa()
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    picture.seek(0)
    with released(c2pa.Builder({"title": "test"}, c2pa_context())) as builder:
        builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.COMPOSITE)
        try:
            with released(_signer(key)) as signer:
                builder.sign(signer, "image/png", picture, io.BytesIO())
        except c2pa.C2paError as error:
            raise SigningKeyError(
                f"the certificate of {key.signer!r} is not one that C2PA signs with "
                f"({_reason(error)}); it must come under another one and be for e-mail "
                "protection, document signing or C2PA"
            ) from error


class SwapManifest:
    """The manifest of one output: made before the work, signed into the file after it.

    Files are read when it is made: they may be gone at the end.
    `close` frees the library's memory. Raises OSError where a file cannot be read.
    """

    def __init__(self, facts: SwapFacts, key: SigningKey) -> None:
        c2pa = load_c2pa()
        self._key, self._version = key, facts.version
        files = [("target", facts.target)]
        files += [(f"source {n}", path) for n, path in enumerate(facts.sources, 1)]
        hashes = [{"title": title, "sha256": facts.sha256[path]} for title, path in files]
        assertion: dict[str, Any] = {
            "version": facts.version,
            "checkpoint_sha256": facts.checkpoint_sha256,
            "settings": dict(facts.settings),
            "files": hashes,
        }
        if facts.people:
            assertion["people"] = [dict(person) for person in facts.people]
        definition = {
            "claim_generator_info": [{"name": "vidswap", "version": facts.version}],
            "assertions": [{"label": SWAP_ASSERTION, "data": assertion}],
        }
        self._builder = c2pa.Builder(definition, c2pa_context())
        self._builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        self._inputs: list[str] = []
        for title, path in files[: 1 + MAX_SOURCES]:
            self._add_ingredient(title, path)

    def sign(self, unsigned: Path, output: Path, swapped: bool = True) -> str:
        """Write `output`, which is `unsigned` with the manifest; gives the manifest's label.

        The output appears under its name only when complete and checked. `swapped` false: no face
        was found, and the file was only encoded again. Raises SigningKeyError where the library
        cannot sign this file, DiskFullError, OutputNotWritableError.
        """
        self._builder.add_action(self._action(swapped))
        part = temporary_path(output)
        try:
            # In a thread: an interrupt within the library's calls back to Python would be lost.
            with writing_errors(output), ThreadPoolExecutor(1, "sign") as pool:
                pool.submit(self._write_signed, unsigned, part, output).result()
                label = _active_label(part)
                part.replace(output)
        finally:
            part.unlink(missing_ok=True)
        return label

    def close(self) -> None:
        """Free the library's memory."""
        self._builder.close()

    def _add_ingredient(self, title: str, path: Path) -> None:
        is_target = title == "target"
        known = {
            "title": title,  # not the file's name, which may say more than its owner wants
            "relationship": "parentOf" if is_target else "inputTo",
            "instance_id": title.replace(" ", "-"),
        }
        if not is_target:
            self._inputs.append(known["instance_id"])
        with path.open("rb") as file:
            try:
                self._builder.add_ingredient(known, media_type(path) or _OPAQUE, file)
            except load_c2pa().C2paError:  # not what its suffix says, or damaged: no manifest then
                file.seek(0)
                self._builder.add_ingredient(known, _OPAQUE, file)

    def _action(self, swapped: bool) -> dict[str, Any]:
        agent = {"name": "vidswap", "version": self._version}
        if not swapped:
            return {"action": "c2pa.transcoded", "softwareAgent": agent}
        return {
            "action": "c2pa.edited",
            "description": "A face was replaced by another person's, by a neural network.",
            "digitalSourceType": DIGITAL_SOURCE_TYPE,
            "softwareAgent": agent,
            "parameters": {"ingredientIds": self._inputs},
        }

    def _write_signed(self, unsigned: Path, part: Path, output: Path) -> None:
        c2pa = load_c2pa()
        try:
            with (
                _temporary_files_in(output.parent),
                released(_signer(self._key)) as signer,
                unsigned.open("rb") as source,
                part.open("w+b") as signed,
            ):
                self._builder.sign(signer, media_type(output), source, signed)
        except c2pa.C2paError as error:
            if shutil.disk_usage(output.parent).free < unsigned.stat().st_size:
                raise DiskFullError(
                    f"no space left to sign {output}, which takes three times its size for a "
                    "while; free some or name another disk (nothing was kept)"
                ) from error
            raise SigningKeyError(
                f"{output} cannot be signed ({_reason(error)}); write to another container, or "
                "give --no-provenance REASON"
            ) from error


@contextmanager
def released(resource: Any) -> Iterator[Any]:
    """Close one of the library's objects in the end, whatever state it is in by then."""
    try:
        yield resource
    finally:
        with suppress(load_c2pa().C2paError):
            resource.close()


def open_reader(file: BinaryIO, mime: str, trust_anchors: str | None = None) -> Any:
    """The library's reader of a file's manifest. Raises C2paError where there is none."""
    return load_c2pa().Reader(mime, file, context=c2pa_context(trust_anchors))


def _active_label(path: Path) -> str:
    mime = media_type(path)
    assert mime is not None
    with path.open("rb") as file, released(open_reader(file, mime)) as reader:
        return str(reader.get_active_manifest()["label"])


def _signer(key: SigningKey) -> Any:
    c2pa = load_c2pa()
    info = c2pa.C2paSignerInfo(
        key.algorithm, key.certificates.encode(), key.private_key.encode(), None
    )
    return c2pa.Signer.from_info(info)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Have the library put its temporary files on the output's disk: /tmp is often in memory."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".").lower()
