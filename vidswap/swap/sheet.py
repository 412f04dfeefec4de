"""sheet.html of a cast folder: everybody at a glance, and what is doubtful first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vidswap.people.plan import CastPlan, PersonPlan
from vidswap.people.tracks import TrackRecord
from vidswap.report.html import render, write_text
from vidswap.swap.first_pass import (
    MOST_DOUBTFUL,
    MOST_PICTURED,
    Pictures,
    doubtful_tracks,
    read_pictures,
)

SHEET = "sheet.html"
MOST_FACES = 6  # of a person
MOST_SHOTS = 400
BRIEF = 0.5  # seconds within a shot for which a track of another one is not told
_STRIP = 1000.0  # width of a time strip in its own units


@dataclass(frozen=True)
class Bar:
    """A stretch of a time strip, left and width of `_STRIP`."""

    left: float
    width: float
    title: str


def write_sheet(plan: CastPlan) -> None:
    """Write the sheet into the plan's folder. Raises OutputNotWritableError, DiskFullError."""
    write_text(sheet_html(plan, read_pictures(plan.folder)), plan.folder / SHEET)


def sheet_html(plan: CastPlan, pictures: Pictures) -> str:
    """The page as text: it holds its pictures and fetches nothing."""
    tracks = plan.tracks
    doubtful = doubtful_tracks(tracks)
    shown = tracks.shots[:MOST_SHOTS]
    return render(
        "sheet.html.j2",
        {
            "clip": tracks.clip,
            "length": time_text(tracks.clip.seconds),
            "people": [_person(plan, person, pictures) for person in tracks.people[:MOST_PICTURED]],
            "more_people": max(0, len(tracks.people) - MOST_PICTURED),
            "doubtful": [_doubtful(plan, track, pictures) for track in doubtful[:MOST_DOUBTFUL]],
            "more_doubtful": max(0, len(doubtful) - MOST_DOUBTFUL),
            "n_tracks": len(tracks.tracks),
            "shots": [
                {
                    "number": n + 1,
                    "times": f"{time_text(start)} to {time_text(end)}",
                    "picture": _uri(pictures.shots.get(n)),
                    "people": _people_in(plan, n),
                }
                for n, (start, end) in enumerate(shown)
            ],
            "more_shots": max(0, len(tracks.shots) - MOST_SHOTS),
            "cuts": [round(_place(plan, start), 2) for start, _ in tracks.shots[1:2001]],
            "strip": _STRIP,
            "counted": _counted,
        },
    )


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def time_text(seconds: float) -> str:
    """Minutes and seconds, such as 1:02.5."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _person(plan: CastPlan, person: str, pictures: Pictures) -> dict[str, Any]:
    tracks, own = plan.tracks, plan.tracks.of_person[person]
    known = plan.people.get(person, PersonPlan(person))
    best = sorted(own, key=lambda track: (bool(track.doubts), -track.frames))
    faces = [(track, jpeg) for track in best for jpeg in pictures.faces.get(track.id, ())[:1]]
    faces += [(track, jpeg) for track in best for jpeg in pictures.faces.get(track.id, ())[1:]]
    gets = ", ".join(path.name for path in known.sources) or "their own face"
    if known.same_as:
        gets = f"the same person as {known.same_as}"
    return {
        "id": person,
        "name": known.name,
        "gets": gets,
        "assigned": bool(known.sources or known.same_as),
        "seconds": f"{tracks.seconds_of(person):.1f}",
        "first": time_text(own[0].start),
        "n_tracks": len(own),
        "faces": [
            {"picture": _uri(jpeg), "title": _title(track)} for track, jpeg in faces[:MOST_FACES]
        ],
        "bars": [_bar(plan, track) for track in own[:2000]],
    }


def _doubtful(plan: CastPlan, track: TrackRecord, pictures: Pictures) -> dict[str, Any]:
    jpegs = pictures.faces.get(track.id, ())
    return {
        "id": track.id,
        "person": track.person,
        "times": f"{time_text(track.start)} to {time_text(track.end)}",
        "why": track.doubts,
        "picture": _uri(jpegs[0] if jpegs else None),
    }


def _people_in(plan: CastPlan, shot: int) -> list[str]:
    start, end = plan.tracks.shots[shot]
    # A track may go on from one shot into the next, through a dissolve.
    inside = {
        track.person for track in plan.tracks.tracks
        if track.shot == shot or (track.start < end - BRIEF and track.end > start + BRIEF)
    }  # fmt: skip
    return [
        PersonPlan(p).title if p not in plan.people else plan.people[p].title
        for p in plan.tracks.people
        if p in inside
    ][:12]


def _bar(plan: CastPlan, track: TrackRecord) -> Bar:
    left, right = _place(plan, track.start), _place(plan, track.end)
    return Bar(round(left, 2), round(max(right - left, 2.0), 2), _title(track))


def _place(plan: CastPlan, seconds: float) -> float:
    length = max(plan.tracks.clip.seconds, 1e-3)
    return _STRIP * min(max(seconds / length, 0.0), 1.0)


def _title(track: TrackRecord) -> str:
    return f"track {track.id}, {time_text(track.start)} to {time_text(track.end)}"


def _uri(base64_jpeg: bytes | None) -> str:
    return f"data:image/jpeg;base64,{base64_jpeg.decode()}" if base64_jpeg else ""
