"""Manifests: one swap per row, as JSON lines or CSV, read with the line of every error."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vidswap.batch.facts import digest_of, outputs_of
from vidswap.batch.records import JobRecord
from vidswap.errors import BadOptionError, ManifestError
from vidswap.options import Option, options_of
from vidswap.runtime.inputs import read_bounded
from vidswap.runtime.text import shown
from vidswap.swap.options import SwapOptions
from vidswap.swap.request import SwapRequest

LARGEST = 2**28  # bytes of a manifest
_MOST_ERRORS = 20  # that are told at once
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_SLUG = re.compile(r"[^A-Za-z0-9_.-]+")
_SLUG_LENGTH = 40


@dataclass(frozen=True)
class Job:
    """A row: `line` counts from 1 in the manifest; `id` follows from the output's path."""

    line: int
    request: SwapRequest

    @property
    def id(self) -> str:
        """Alike on every host and for every order of rows."""
        output = self.request.output
        slug = _SLUG.sub("_", output.name)[:_SLUG_LENGTH].strip(".-") or "job"
        return f"{slug}-{digest_of(output.as_posix())}"

    def record(self) -> JobRecord:
        """The job as it is first queued."""
        return JobRecord(self.id, self.line, self.request.to_json())


def read_manifest(path: Path) -> list[Job]:
    """The jobs of a manifest; one that ends in .csv is CSV, any other JSON lines.

    Raises ManifestError, which names up to twenty lines that are wrong and why, also for outputs
    that are named twice or are another job's input.
    """
    try:
        text = read_bounded(path, LARGEST).decode("utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; name a manifest of jobs") from error
    except ValueError as error:  # too large, or no UTF-8
        raise ManifestError(f"{path} is no manifest: {error}") from error
    rows = csv_rows(text) if path.suffix.lower() == ".csv" else json_rows(text)
    jobs, errors = list[Job](), list[tuple[int, str]]()
    for line, found in rows:
        if isinstance(found, SwapRequest):
            jobs.append(Job(line, found))
        else:
            errors.append((line, found))
    errors += collisions(jobs)
    raise_if_any(errors, path)
    if not jobs:
        raise ManifestError(f"{path} names no job; write one with vidswap batch plan")
    return jobs


def raise_if_any(errors: Sequence[tuple[int, str]], path: Path | str) -> None:
    """Raise one ManifestError for all errors, by line."""
    if not errors:
        return
    ordered = sorted(errors)
    told = "; ".join(f"line {line}: {words}" for line, words in ordered[:_MOST_ERRORS])
    more = f"; and {len(errors) - _MOST_ERRORS} more" if len(errors) > _MOST_ERRORS else ""
    raise ManifestError(f"{path}: {told}{more}")


Row = tuple[int, SwapRequest | str]  # line, and the request or what is wrong


def json_rows(text: str) -> Iterator[Row]:
    """The rows of JSON lines; empty lines are passed over."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _request(line)


def csv_rows(text: str) -> Iterator[Row]:
    """The rows of CSV with a header: sources, target, output and options by name.

    `sources` is one path, or a JSON list of several; a cell left empty has the default.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    known = {each.name: each for each in options_of(SwapOptions)}
    own = {each.name for each in fields(SwapRequest)} - {"options"}
    try:
        names = [name.strip().replace("-", "_") for name in reader.fieldnames or ()]
        wrong = [name for name in names if name not in known and name not in own]
        if wrong or len(set(names)) != len(names):
            what = f"{shown(wrong[0])} is no column" if wrong else "a column is named twice"
            yield 1, f"{what}; the first line names sources, target, output and options"
            return
        reader.fieldnames = names
        line = reader.line_num + 1  # a quoted cell may hold line ends
        for row in reader:
            if None in row or None in row.values():
                yield line, f"not {len(names)} cells, as the first line has"
            elif any(value.strip() for value in row.values()):
                yield line, _csv_request(row, known)
            line = reader.line_num + 1
    except csv.Error as error:
        yield reader.line_num + 1, f"not CSV: {error}"


def _csv_request(row: dict[str, str], known: dict[str, Option]) -> SwapRequest | str:
    given: dict[str, Any] = {name: row[name] for name in row if name not in known and row[name]}
    sources = given.get("sources", "")
    if sources.startswith("["):
        try:
            given["sources"] = json.loads(sources)
        except (ValueError, RecursionError):
            return f"sources {shown(sources)}; give one path, or a JSON list of paths"
    elif sources:
        given["sources"] = [sources]
    given["options"] = {name: _cell(known[name], row[name]) for name in row if name in known
                        and row[name]}  # fmt: skip
    return _request(json.dumps(given))


def _cell(each: Option, text: str) -> Any:
    """A cell as JSON would have it; what does not fit is left for the request to refuse."""
    if each.kind is bool:
        word = text.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else text
    if each.kind in (int, float):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _request(text: str) -> SwapRequest | str:
    try:
        request = SwapRequest.from_json(text)
    except BadOptionError as error:
        return str(error)
    if not request.sources and request.options.cast is None:
        return "'sources' in a swap request is empty; name one at least"
    if not request.output.name or not request.target.name:
        return "'target' and 'output' in a swap request are paths of files"
    return request


def collisions(jobs: Iterable[Job]) -> list[tuple[int, str]]:
    """Outputs that are named twice, or that another row reads: line and words."""
    jobs = list(jobs)
    first: dict[str, int] = {}
    errors = []
    for job in jobs:
        for path in outputs_of(job.request):
            key = _absolute(path)
            if key in first:
                errors.append((job.line, f"the output {path} is that of line {first[key]} too; "
                               "give each row its own"))  # fmt: skip
            first.setdefault(key, job.line)
    for job in jobs:
        for path in (*job.request.sources, job.request.target):
            made_by = first.get(_absolute(path))
            if made_by is not None:
                errors.append((job.line, f"{path} is the output of line {made_by}; put rows that "
                               "need another's output in a manifest of their own"))  # fmt: skip
    return errors


def _absolute(path: Path) -> str:
    import os

    return os.path.abspath(path)  # noqa: PTH100, `resolve` would read the disk for every row


def written_jsonl(requests: Iterable[SwapRequest]) -> Iterator[str]:
    """Requests as lines; options that have their default are left out."""
    for request in requests:
        plain = json.loads(request.to_json())
        plain["options"] = _changed(plain["options"])
        if not plain["options"]:
            del plain["options"]
        yield json.dumps(plain, ensure_ascii=False)


def written_csv(requests: Iterable[SwapRequest]) -> Iterator[str]:
    """Requests as CSV: a header, then a row each; options that all have as default are left out."""
    rows = []
    for request in requests:
        plain = json.loads(request.to_json())
        options = _changed(plain.pop("options"))
        sources = plain["sources"]
        one = len(sources) == 1 and not sources[0].startswith("[")
        plain["sources"] = sources[0] if one else json.dumps(sources, ensure_ascii=False)
        rows.append({k: v for k, v in plain.items() if v is not None} | _cells(options))
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names or ["sources", "target", "output"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    yield from text.getvalue().split("\n")[:-1]


def _cells(options: dict[str, Any]) -> dict[str, Any]:
    words = {True: "true", False: "false"}
    return {k: words[v] if isinstance(v, bool) else v for k, v in options.items()}


def _changed(options: dict[str, Any]) -> dict[str, Any]:
    default = json.loads(SwapRequest.of(["s"], "t", "o").to_json())["options"]
    changed = {name: value for name, value in options.items() if value != default[name]}
    if changed.get("match_bitrate"):
        changed.pop("crf", None)  # None: unset by the bit rate
    return changed
