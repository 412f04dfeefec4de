"""Several people of a clip, each with a face of their own: `run --cast`.

A plan says for every track of the first pass whose face it gets. The swap follows the faces again,
as the first pass did, and knows each by where it is at what time; nobody is recognised anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidswap.blending.reference import MOST_SHOTS
from vidswap.errors import BadOptionError, CastError
from vidswap.faces.tracking import TrackedFace
from vidswap.identity.encoder import IDENTITY_NET
from vidswap.media.output import work_name
from vidswap.models.checkpoint import LoadedGenerator
from vidswap.nets import Nets
from vidswap.people.embedding import FaceEmbedder
from vidswap.people.face_selection import ALIKE
from vidswap.people.plan import CastPlan, Decision, PersonPlan, read_plan
from vidswap.people.source import SourceIdentity, SourceReader
from vidswap.people.tracks import TRACKS, Tracks, read_tracks
from vidswap.provenance.record import files_used
from vidswap.swap.faces import Assignment, FaceAims, FaceSource
from vidswap.swap.first_pass import OWN_NAMES, WORK, check_target, find_people
from vidswap.swap.look import FaceLook, load_generators, look_options
from vidswap.swap.options import OTHERS, PersonSwapped, SwapCounts, SwapOptions
from vidswap.swap.target import target_digest

logger = logging.getLogger(__name__)

AUTO = "auto"
_MAY_BE_IN_USE = 3600.0  # seconds
Sources = tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class Cast:
    """A plan ready to be followed: its sources read, its checkpoints loaded.

    notes: what is to be told before the work, such as who gets whose face by themselves.
    """

    plan: CastPlan
    identities: Mapping[Sources, SourceIdentity]
    generators: Mapping[Path, LoadedGenerator]
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the source frames used."""
        return tuple(name for found in self.identities.values() for name in found.used)

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        return tuple(pair for found in self.identities.values() for pair in found.left_out)

    @property
    def files(self) -> list[Path]:
        """The files of the sources that are used, each once."""
        found = (files_used(s, identity.used) for s, identity in self.identities.items())
        return list(dict.fromkeys(path for paths in found for path in paths))

    def assigner(self, options: SwapOptions, zero: float = 0.0) -> CastAssigner:
        """Follows the plan in a clip that begins at `zero` on its own clock."""
        return CastAssigner(self, FaceLook.of(options), zero)

    def facts(self, sha256: Mapping[Path, str]) -> dict[str, str]:
        """What of it decides over the frames of a swap, for `facts_of`."""
        plan, tracks = self.plan, self.plan.tracks
        hashes = {
            str(n): [sha256[path] for path in files_used(sources, identity.used)]
            for n, (sources, identity) in enumerate(self.identities.items())
        }
        order = list(self.identities)

        def plain(value: Any) -> Any:
            if isinstance(value, Path):
                return self.generators[value].sha256 if value in self.generators else str(value)
            return str(value)

        people = [
            [p.id, p.same_as, order.index(p.sources) if p.sources else None,
             {k: plain(v) for k, v in p.settings.items()}]
            for p in plan.people.values()
        ]  # fmt: skip
        ranges = [
            [list(o.tracks), str(o.start), str(o.end), o.person,
             order.index(o.sources) if o.sources else str(o.sources),
             {k: plain(v) for k, v in o.settings.items()}]
            for o in (*plan.overrides, *plan.shots)
        ]  # fmt: skip
        found = [[t.id, t.person, t.start, t.end, t.times.tolist(), t.boxes.tolist()]
                 for t in tracks.tracks]  # fmt: skip
        whole = json.dumps([hashes, people, ranges, found]).encode()
        return {"cast plan": hashlib.sha256(whole).hexdigest()}

    def people(self, counts: SwapCounts) -> tuple[PersonSwapped, ...]:
        """Who was swapped, from when to when, in the order of the plan."""
        found = []
        known = [*self.plan.tracks.people, OTHERS]
        for person in sorted(counts.spans, key=lambda p: known.index(p) if p in known else -1):
            spans = tuple((span[0], span[1]) for span in counts.spans[person])
            plan = self.plan.people.get(person, PersonPlan(person))
            names = tuple(dict.fromkeys(
                path.name for sources in self._sources_of(person) for path in sources
            ))  # fmt: skip
            found.append(PersonSwapped(person, plan.name, names, spans))
        return tuple(found)

    def provenance(self, files: Sequence[Path]) -> list[dict[str, Any]]:
        """Who gets which source, as a manifest names them: `source 1` is the first of `files`."""
        found = []
        for person in self.plan.tracks.people:
            numbers: list[str] = []
            consent = False
            for sources in self._sources_of(person):
                identity = self.identities[sources]
                own = files_used(sources, identity.used)
                numbers += [f"source {files.index(path) + 1}" for path in own if path in files]
                consent |= bool(identity.consent)
            if numbers:
                plan = self.plan.people.get(person, PersonPlan(person))
                entry: dict[str, Any] = {"person": person, "sources": list(dict.fromkeys(numbers))}
                entry |= {"name": plan.name} if plan.name else {}
                entry |= {"consent_recorded": True} if consent else {}
                found.append(entry)
        return found

    def _sources_of(self, person: str) -> list[Sources]:
        """All sources that a person gets at some time."""
        plan = self.plan.people.get(person, PersonPlan(person))
        given = [plan.sources] if plan.sources and plan.same_as is None else []
        for track in self.plan.tracks.tracks:
            for override in self.plan.overrides:
                inside = override.tracks == () or track.id in override.tracks
                if override.sources and inside:
                    at = max(track.start, override.start)
                    decision = self.plan.decide(track.id, at)
                    if decision.person == person and decision.sources == override.sources:
                        given.append(override.sources)
        return list(dict.fromkeys(given))


class CastAssigner:
    """Gives every face what the plan says of its track; a face of no track is left alone."""

    def __init__(self, cast: Cast, look: FaceLook, zero: float) -> None:
        self._cast, self._zero, self._look = cast, zero, look
        self._aims: dict[tuple[str, str], FaceAims] = {}
        self.looks = tuple(look.changed(settings, cast.generators)
                           for settings in cast.plan.all_settings())  # fmt: skip

    def assign(self, rgb: NDArray[np.uint8], faces: Sequence[TrackedFace]) -> list[Assignment]:
        """The faces of this frame that get another's, with who they are and how."""
        if not faces:
            return []
        seconds = faces[0].seconds - self._zero
        tracks = self._cast.plan.tracks.match(seconds, [face.face.box for face in faces])
        assigned: list[Assignment] = []
        for face, track in zip(faces, tracks, strict=True):
            if track is None:
                continue
            decision = self._cast.plan.decide(track, seconds)
            if decision.sources:
                source: FaceSource = self._cast.identities[decision.sources]
                assigned.append((face, source, self._aims_of(decision)))
        return assigned

    def state(self) -> Any:
        """Nothing is remembered from frame to frame."""
        return None

    def restore(self, state: Any) -> None:
        """There is nothing to restore."""

    def _aims_of(self, decision: Decision) -> FaceAims:
        key = decision.person, repr(sorted(decision.settings.items(), key=lambda item: item[0]))
        if key not in self._aims:
            look = None
            if decision.settings:
                look = self._look.changed(decision.settings, self._cast.generators)
            self._aims[key] = FaceAims(decision.person, look)
        return self._aims[key]


def check_cast(options: SwapOptions, sources: Sequence[Path]) -> None:
    """Refuse at once what cannot be a cast. Raises BadOptionError and CastError."""
    if options.cast == AUTO and not sources:
        raise BadOptionError("--cast auto gives each SOURCE to a person; give one or more")
    if options.cast != AUTO and sources:
        raise BadOptionError(
            f"--cast {options.cast} says whose face everybody gets, so it takes no SOURCES (got "
            f"{sources[0]}); write them into its people.toml"
        )
    if options.cast != AUTO:
        read_tracks_of(options)


def read_tracks_of(options: SwapOptions) -> Tracks:
    """The tracks of `--cast FOLDER`. Raises CastError."""
    folder = Path(str(options.cast))
    if not folder.is_dir():
        raise CastError(f"--cast {folder}: no such folder; make it with vidswap people TARGET "
                        f"-o {folder}")  # fmt: skip
    return read_tracks(folder)


def load_cast(
    nets: Nets, target: Path, output: Path, sources: Sequence[Path], options: SwapOptions
) -> Cast:
    """Read the plan of `--cast`, or make one for "auto", and all sources that it names.

    Raises CastError, and what `SourceReader.read` raises for a source.
    """
    if options.cast == AUTO:
        plan, notes = _own_plan(nets, target, output, sources, options)
    else:
        plan, notes = read_plan(Path(str(options.cast)), look_options()), []
        check_target(plan.tracks, target_digest(target)[1], target)
        if plan.tracks.nets.get("identity") not in (None, IDENTITY_NET):
            notes.append(f"the cast was made with another identity net than {IDENTITY_NET}")
        if not plan.all_sources():
            raise CastError(
                f"{plan.folder}: nobody has a source; write one into people.toml, or use vidswap "
                "people --assign p1=SOURCE"
            )
    reader = SourceReader.of(nets)
    identities = {}
    fill = options.source_filler()
    for group in plan.all_sources():
        identities[group] = reader.read(
            group, options.k_shot, options.source_face, MOST_SHOTS, fill
        )
    checkpoints = [s["checkpoint"] for s in plan.all_settings() if "checkpoint" in s]
    return Cast(plan, identities, load_generators(checkpoints, nets), tuple(notes))


def plan_of(target: Path, sources: Sequence[Path], options: SwapOptions) -> CastPlan | None:
    """The plan that a swap with `--cast` follows, None without one; for "auto" it is made again.

    Raises CastError.
    """
    if options.cast is None:
        return None
    if options.cast == AUTO:
        with tempfile.TemporaryDirectory(prefix="vidswap-cast-") as folder:
            whole = replace(options, start=None, end=None)
            tracks = find_people(target, Path(folder) / "cast", whole)
        return CastPlan(Path(AUTO), tracks, automatic_people(tracks, sources)[0])
    plan = read_plan(Path(str(options.cast)), look_options())
    check_target(plan.tracks, target_digest(target)[1], target)
    return plan


def auto_folder(output: Path) -> Path:
    """Where the first pass of `--cast auto` is kept until the output is complete."""
    return output.with_name(f".{work_name(output, output.name)}.cast")


def left_casts(folder: Path) -> list[Path]:
    """Folders of first passes whose runs ended early, in a folder of outputs.

    By their names and by what lies in them; those that were changed within the hour may be in use.
    """
    found = []
    for path in sorted(folder.glob(".*.cast")):
        inside = [] if path.is_symlink() or not path.is_dir() else list(path.iterdir())
        times = [p.lstat().st_mtime for p in (path, *inside, *(path / WORK).glob("*"))]
        is_old = time.time() - max(times, default=0.0) > _MAY_BE_IN_USE
        if inside and is_old and all(p.name in OWN_NAMES for p in inside):
            found.append(path)
    return found


def _own_plan(
    nets: Nets, target: Path, output: Path, sources: Sequence[Path], options: SwapOptions
) -> tuple[CastPlan, list[str]]:
    """The most seen person gets the first source, and so on; look-alikes get the same."""
    folder = auto_folder(output)
    tracks = _known_tracks(folder, target)
    if tracks is None:
        tracks = find_people(
            target, folder, options=replace(options, start=None, end=None), overwrite=True,
            resume=options.resume, embedder=FaceEmbedder.of(nets),
        )  # fmt: skip
    people, notes = automatic_people(tracks, sources)
    return CastPlan(folder, tracks, people), notes


def _known_tracks(folder: Path, target: Path) -> Tracks | None:
    """Those of a run of the same target that was broken off."""
    try:
        tracks = read_tracks(folder) if (folder / TRACKS).is_file() else None
    except CastError:
        return None
    same = tracks is not None and tracks.clip.sha256 == target_digest(target)[1]
    return tracks if same else None


def automatic_people(
    tracks: Tracks, sources: Sequence[Path]
) -> tuple[dict[str, PersonPlan], list[str]]:
    """Sources for the people most seen, in order, and lines about who is special."""
    people: dict[str, PersonPlan] = {}
    notes = []
    remaining = list(sources)
    for person in tracks.people:
        twin = next((p for p in people if _are_alike(tracks, p, person)), None)
        if twin is not None:
            people[person] = replace(people[twin], id=person)
            notes.append(f"{person} looks like {twin}, as in a mirror, and gets the same face")
        elif remaining:
            source = remaining.pop(0)
            people[person] = PersonPlan(person, sources=(source,))
            seconds = tracks.seconds_of(person)
            logger.info("%s, %.1f s on screen, gets %s", person, seconds, source.name)
    left = len(tracks.people) - len(people)
    if left:
        notes.append(f"{left} more {'person keeps' if left == 1 else 'people keep'} their own face")
    notes += [f"nobody is left for {source.name}" for source in remaining]
    return people, notes


def _are_alike(tracks: Tracks, one: str, other: str) -> bool:
    """Whether two people who are seen together are one, seen twice."""
    means = []
    for person in (one, other):
        own = tracks.of_person[person]
        weights = np.array([max(track.certainty, 1e-3) for track in own])
        means.append(np.average([track.embedding for track in own], axis=0, weights=weights))
    return bool(np.linalg.norm(means[0] - means[1]) < ALIKE)
