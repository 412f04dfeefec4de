"""What a file's C2PA manifest claims, and whether its signature and hashes still hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidswap.provenance.manifest import SWAP_ASSERTION, load_c2pa, open_reader, released

_NOT_TRUSTED = "signingCredential.untrusted"  # whoever signed, not whether the file was changed
_HOLDS = ("Valid", "Trusted")


@dataclass(frozen=True)
class IngredientClaim:
    """A file that went in. relationship: "parentOf" for the target, "inputTo" for a source.

    sha256: where vidswap made the claim. manifest: label of the file's own manifest, if it had
    one; `was_broken` when that no longer held as it was used.
    """

    title: str
    relationship: str
    sha256: str | None
    manifest: str | None
    was_broken: bool


@dataclass(frozen=True)
class ManifestClaim:
    """A manifest and its state.

    holds: signature and hashes fit the file. trusted: the signer's certificate comes under one
    that was given as trusted. failures: "code: explanation", empty where it holds. actions: pairs
    of C2PA action and digital source type (its last word, "" if none). swap: what vidswap's own
    assertion holds, empty in another tool's manifest.
    """

    label: str
    holds: bool
    trusted: bool
    failures: tuple[str, ...]
    tool: str
    actions: tuple[tuple[str, str], ...]
    swap: Mapping[str, Any] = field(default_factory=dict)
    ingredients: tuple[IngredientClaim, ...] = ()
    signer: str = ""
    organization: str = ""
    algorithm: str = ""


def read_manifest(path: Path, mime: str, trust_anchors: str | None = None) -> ManifestClaim | None:
    """The claim of a file's active manifest, None where it carries none.

    A manifest too damaged to be read is one that does not hold. `trust_anchors`: PEM certificates.
    Nothing is fetched. Raises MissingLibraryError.
    """
    c2pa = load_c2pa()
    try:
        with path.open("rb") as file, released(open_reader(file, mime, trust_anchors)) as reader:
            return _claim(json.loads(reader.json()))
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return None
    except c2pa.C2paError as error:
        return _unread(" ".join(str(error).split()))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        return _unread(f"it holds what no manifest does ({type(error).__name__})")


def _unread(words: str) -> ManifestClaim:
    return ManifestClaim("", False, False, (f"the manifest cannot be read: {words}",), "", ())


def _claim(store: Mapping[str, Any]) -> ManifestClaim:
    state = store.get("validation_state")
    label = store.get("active_manifest", "")
    manifest = store.get("manifests", {}).get(label, {})
    assertions = {a["label"]: a["data"] for a in manifest.get("assertions", [])}
    swap = assertions.get(SWAP_ASSERTION) or {}
    if not isinstance(swap, Mapping):
        raise TypeError(SWAP_ASSERTION)
    signature = manifest.get("signature_info") or {}
    return ManifestClaim(
        label=label,
        holds=state in _HOLDS,
        trusted=state == "Trusted",
        failures=tuple(_failures(store.get("validation_results") or {})),
        tool=_tool(manifest),
        actions=tuple(_actions(assertions)),
        swap=swap,
        ingredients=tuple(_ingredients(manifest, swap)),
        signer=signature.get("common_name") or "unknown",
        organization=signature.get("issuer") or "",
        algorithm=signature.get("alg") or "",
    )


def _failures(results: Mapping[str, Any]) -> Iterator[str]:
    codes = [results.get("activeManifest") or {}]
    codes += [delta.get("validationDeltas", {}) for delta in results.get("ingredientDeltas") or []]
    for found in codes:
        for failure in found.get("failure") or []:
            if failure["code"] != _NOT_TRUSTED:
                yield f"{failure['code']}: {failure.get('explanation', '')}"


def _tool(manifest: Mapping[str, Any]) -> str:
    tools = manifest.get("claim_generator_info") or [{}]
    named = f"{tools[0].get('name', '')} {tools[0].get('version', '')}".strip()
    return named or manifest.get("claim_generator") or "unknown"


def _actions(assertions: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for label, content in assertions.items():
        if label.startswith("c2pa.actions"):
            for action in content.get("actions", []):
                kind = action.get("digitalSourceType") or ""
                yield action.get("action", ""), kind.rsplit("/", 1)[-1]


def _ingredients(manifest: Mapping[str, Any], swap: Mapping[str, Any]) -> Iterator[IngredientClaim]:
    hashes = {entry["title"]: entry["sha256"] for entry in swap.get("files", [])}
    for ingredient in manifest.get("ingredients") or []:
        title = ingredient.get("title") or "untitled"
        results = ingredient.get("validation_results") or {}
        yield IngredientClaim(
            title=title,
            relationship=ingredient.get("relationship") or "",
            sha256=hashes.get(title),
            manifest=ingredient.get("active_manifest"),
            was_broken=any(_failures(results)),
        )
