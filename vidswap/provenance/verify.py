"""What a file claims of its making, and whether that still holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from vidswap.errors import InputNotFoundError, SigningKeyError
from vidswap.media.container import check_input, open_clip
from vidswap.media.marks import mark_lines, marks_in
from vidswap.media.picture import is_picture, picture_format, read_picture, read_picture_metadata
from vidswap.provenance.reading import IngredientClaim, ManifestClaim, read_manifest
from vidswap.provenance.record import HAS_MANIFEST, MANIFEST_MARK
from vidswap.provenance.signing_key import local_trust_anchor
from vidswap.runtime.inputs import read_bounded
from vidswap.runtime.text import escaped, first_lines, shown, word

# Exit codes, apart from those of errors.
HOLDS, BROKEN, NO_CLAIM, UNKNOWN_SIGNER = 0, 30, 31, 32

Verdict = Literal["holds", "unknown signer", "unsigned", "broken", "removed", "none"]
_EXIT_CODES: dict[Verdict, int] = {
    "holds": HOLDS, "unknown signer": UNKNOWN_SIGNER, "unsigned": HOLDS, "broken": BROKEN,
    "removed": BROKEN, "none": NO_CLAIM,
}  # fmt: skip
_LARGEST_PEM = 2**22  # bytes
_SHA256 = re.compile("[0-9a-f]{64}")
_SOURCE = re.compile("source [0-9]{1,6}")
_MOST_SOURCES = 16  # of a person that are told
_CLIP_TYPES = {"mp4": "video/mp4", "gif": "image/gif"}
_PICTURE_TYPES = {"png", "jpeg", "webp", "tiff"}


@dataclass(frozen=True)
class Verification:
    """What was found in a file.

    verdict: "holds", the manifest fits the file and its signer is trusted; "unknown signer", it
    fits, but anyone may have signed it; "unsigned", there are only vidswap's marks; "broken", the
    file or its manifest was changed after signing; "removed", the marks tell of a manifest that is
    not there; "none", no claim at all. trust: who vouches for the signer.
    """

    path: Path
    verdict: Verdict
    marks: dict[str, str]
    manifest: ManifestClaim | None
    trust: str

    @property
    def exit_code(self) -> int:
        """0, 30, 31 or 32, as `vidswap verify` leaves with."""
        return _EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path), "exit_code": self.exit_code}


def verify_file(path: Path, trust: Path | None = None) -> Verification:
    """Read and check a file's claims; nothing is fetched.

    trust: a PEM file of certificates whose signers are trusted, besides this computer's own key.
    Raises InputNotFoundError, NotAVideoError, SigningKeyError (of `trust`), MissingLibraryError.
    """
    check_input(path)
    given = _given_anchors(trust) if trust is not None else ""
    marks, mime = _marks_and_type(path)
    local = local_trust_anchor() or ""
    manifest = read_manifest(path, mime, given + local) if mime is not None else None
    who = "nobody"
    if manifest is not None and manifest.trusted and mime is not None:
        by_given = given and (read_manifest(path, mime, given) or manifest).trusted
        who = "given certificates" if by_given else "this computer's key"
    return Verification(path, _verdict(manifest, marks), marks, manifest, who)


def verification_as_text(found: Verification) -> str:
    """A verification for people to read."""
    return "\n".join([f"{escaped(str(found.path))}: {_HEADLINES[found.verdict]}", *_details(found)])


_HEADLINES: dict[Verdict, str] = {
    "holds": "its C2PA manifest holds: the file is as it was signed, by a trusted signer",
    "unknown signer": "SIGNER UNKNOWN: the C2PA manifest fits the file; anyone can have signed it",
    "unsigned": "marked by vidswap, but not signed: nothing shows whether that was changed",
    "broken": "BROKEN: the file or its C2PA manifest was changed after signing",
    "removed": "BROKEN: the C2PA manifest that its marks tell of was taken out",
    "none": "claims nothing: no C2PA manifest and no marks of vidswap",
}


def _details(found: Verification) -> Iterator[str]:
    manifest = found.manifest
    if manifest is not None:
        yield from first_lines(f"  broken: {_failure(each)}" for each in manifest.failures)
        if manifest.label:
            yield from _manifest_lines(manifest, found.trust)
    yield from mark_lines(found.marks)


def _failure(text: str) -> str:
    code, separator, explanation = text.partition(": ")
    return f"{word(code)}: {shown(explanation)}" if separator and explanation else shown(text)


def _manifest_lines(manifest: ManifestClaim, trust: str) -> Iterator[str]:
    organization = f" ({shown(manifest.organization)})" if manifest.organization else ""
    yield f"  signed by: {shown(manifest.signer)}{organization}, {word(manifest.algorithm)}"
    if trust == "nobody":
        yield "  trusted: no; anyone can make a key of that name"
    else:
        yield f"  trusted: yes, by {trust}"
    yield f"  made by: {shown(manifest.tool)}"
    yield from first_lines(
        f"  action: {word(action)}{f', {word(kind)}' if kind else ''}"
        for action, kind in manifest.actions
    )
    if checkpoint := manifest.swap.get("checkpoint_sha256"):
        yield f"  checkpoint: {_digest(checkpoint)}"
    people = manifest.swap.get("people")
    if isinstance(people, list):
        yield from first_lines(f"  person: {_person_text(person)}" for person in people)
    yield from first_lines(map(_ingredient_text, manifest.ingredients))


def _person_text(person: object) -> str:
    """Who of a cast got which sources."""
    if not isinstance(person, Mapping):
        return shown(person)
    name, sources = person.get("name"), person.get("sources")
    who = word(person.get("person", "them"))
    if name:
        who += f" {shown(name)}"
    named = shown(sources)
    if isinstance(sources, list) and all(_SOURCE.fullmatch(str(s)[:20]) for s in sources):
        named = ", ".join(map(str, sources[:_MOST_SOURCES]))
    consent = ", consent recorded" if person.get("consent_recorded") is True else ""
    return f"{who} got {named}{consent}"


def _ingredient_text(ingredient: IngredientClaim) -> str:
    digest = f", SHA-256 {_digest(ingredient.sha256)}" if ingredient.sha256 else ""
    text = f"  from: {shown(ingredient.title)} ({word(ingredient.relationship)}){digest}"
    if not ingredient.manifest:
        return text
    state = "did not hold then" if ingredient.was_broken else "held then"
    return f"{text}\n    with a manifest of its own, which {state}: {shown(ingredient.manifest)}"


def _digest(value: object) -> str:
    text = str(value)
    return text if _SHA256.fullmatch(text[:80]) else shown(text)


def _verdict(manifest: ManifestClaim | None, marks: dict[str, str]) -> Verdict:
    if manifest is not None and manifest.holds:
        return "holds" if manifest.trusted else "unknown signer"
    if manifest is not None:
        return "broken"
    if not marks:
        return "none"
    return "removed" if marks.get(MANIFEST_MARK) == HAS_MANIFEST else "unsigned"


def _marks_and_type(path: Path) -> tuple[dict[str, str], str | None]:
    """vidswap's marks, and the MIME type where the content is of a kind that holds manifests."""
    if is_picture(path):
        read_picture(path)  # says in one line what cannot be decoded
        kind = picture_format(path)
        mime = f"image/{kind}" if kind in _PICTURE_TYPES else None
        return marks_in(read_picture_metadata(path)), mime
    container, _ = open_clip(path)
    with container:
        names = container.format.name.split(",")
        mime = next((_CLIP_TYPES[name] for name in names if name in _CLIP_TYPES), None)
        return marks_in(container.metadata), mime


def _given_anchors(path: Path) -> str:
    try:
        content = read_bounded(path, _LARGEST_PEM)
        x509.load_pem_x509_certificates(content)
    except OSError as error:
        raise InputNotFoundError(f"{path}: no such certificate file; check the name") from error
    except ValueError as error:
        raise SigningKeyError(f"{path}: no certificates in PEM to trust") from error
    return content.decode()
