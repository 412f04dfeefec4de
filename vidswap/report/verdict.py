"""The verdict on a swap: its figures held against their limits, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vidswap.metrics.measure import sign_of
from vidswap.metrics.record import Figure, Report
from vidswap.metrics.registry import METRICS
from vidswap.report.tables import check_limits
from vidswap.report.words import (
    counted,
    first_lower,
    joined,
    limit_text,
    number_text,
    unit_text,
)
from vidswap.runtime.text import escaped

CheckState = Literal["broken", "unmeasured", "kept"]
VerdictState = Literal["pass", "fail", "unknown"]

_PERFECT = {metric.name: metric.perfect for metric in METRICS}
_RETRIEVAL = "identity_retrieval"
_TRAINED_WITH = "took part in training"  # such a judge is not impartial, and the verdict says so
# What a viewer sees follow the target, by the metric that measures it.
_FOLLOWING = {
    "pose_distance": "pose",
    "pose_distance_net": "pose",
    "expression_distance": "expression",
    "gaze_distance": "gaze",
    "gaze_correlation": "gaze",
    "eye_correlation": "blinks",
    "mouth_correlation": "mouth",
}
# Short names of faults and qualities; a metric without one is called by its title.
_NOUNS = {
    "ssim_outside": "the surroundings' likeness",
    "flow_warp_ratio": "shimmer",
    "landmark_jitter": "shaking",
    "flicker": "going on and off",
    "unswapped_frames": "frames left unswapped",
    "face_lost": "frames whose face is lost",
    "missing_frames": "missing frames",
    "seam": "the edge of the pasted face",
    "colour_shift": "colour shift",
    "sharpness_ratio": "sharpness",
}


@dataclass(frozen=True)
class Check:
    """A figure and its limit. close: the figure's interval contains the limit. used: share of the
    limit's allowance, 0 for perfect, 1 at the limit; None where unknown."""

    figure: Figure
    state: CheckState
    close: bool
    used: float | None
    used_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Verdict:
    """headline: how many limits are kept. sentence: what that means to a viewer. checks: broken
    first, then those that could not be measured, then kept."""

    state: VerdictState
    headline: str
    sentence: str
    checks: tuple[Check, ...]

    def of(self, state: CheckState) -> list[Check]:
        """The checks in that state."""
        return [check for check in self.checks if check.state == state]


def verdict_of(report: Report) -> Verdict:
    """Hold every figure that has a limit against it."""
    limited = [f for f in report.figures if f.limit is not None and f.better != "neither"]
    checks = [_check(figure) for figure in limited]
    order: tuple[CheckState, ...] = ("broken", "unmeasured", "kept")
    ordered = tuple(check for state in order for check in checks if check.state == state)
    n = {state: sum(check.state == state for check in checks) for state in order}
    clauses = list(_clauses(ordered, report))
    sentence = "; ".join(clauses)
    return Verdict(
        state="fail" if n["broken"] else "pass" if n["kept"] else "unknown",
        headline=_headline(n["broken"], n["kept"], n["unmeasured"]),
        sentence=sentence[:1].upper() + sentence[1:] + "." if sentence else "",
        checks=ordered,
    )


def allowance_used(figure: Figure, value: float) -> float | None:
    """How much of the way from perfect to the limit `value` goes: 0 at best, 1 at the limit.

    None without a limit, or where the perfect value is not known.
    """
    limit = figure.limit
    if limit is None or figure.better == "neither":
        return None
    sign = 1.0 if figure.better == "lower" else -1.0
    perfect = _PERFECT.get(figure.name)
    # What a clip scores against itself is not always what is best: of likeness left to the target.
    if perfect is None or sign * (limit - perfect) < 0:
        perfect = 0.0 if figure.better == "lower" else 1.0
    allowed = sign * (limit - perfect)
    off = max(0.0, sign * (value - perfect))
    if allowed < 0:
        return None
    if allowed == 0:
        return 0.0 if off == 0 else float("inf")
    return off / allowed


def noun_of(name: str, title: str) -> str:
    """A measure's short name within a sentence."""
    return _FOLLOWING.get(name) or _NOUNS.get(name) or first_lower(title)


def _check(figure: Figure) -> Check:
    passes = figure.passes
    if passes is None or figure.value is None or figure.limit is None:
        return Check(figure, "unmeasured", False, None, None)
    close, used_interval = False, None
    if figure.interval is not None:
        low, high = figure.interval
        close = low < figure.limit < high
        ends = [allowance_used(figure, end) for end in figure.interval]
        known = sorted(end for end in ends if end is not None)
        used_interval = (known[0], known[1]) if len(known) == 2 else None
    used = allowance_used(figure, figure.value)
    return Check(figure, "kept" if passes else "broken", close, used, used_interval)


def _headline(broken: int, kept: int, unmeasured: int) -> str:
    measured = broken + kept
    if measured == 0:
        why = "nothing that has a limit could be measured" if unmeasured else "no limit was set"
        return f"Not judged: {why}"
    left = f"; {unmeasured} more could not be measured" if unmeasured else ""
    limits = counted(measured, "limit")
    if broken:
        return f"Breaks {broken} of {limits}{left}"
    return f"Keeps {'its one limit' if measured == 1 else f'all {limits}'}{left}"


def _clauses(checks: Sequence[Check], report: Report) -> Iterator[str]:
    """The sentence's parts: whose face, what follows, what is wrong, what is not known."""
    if report.frames_with_face == 0 and report.frames:
        yield "no face was found in the target"
    by_name = {check.figure.name: check for check in checks}
    yield from _identity_clause(by_name.get(_RETRIEVAL), report)
    yield from _following_clauses([c for c in checks if c.figure.name in _FOLLOWING])
    rest = [c for c in checks if c.figure.name not in _FOLLOWING and c.figure.name != _RETRIEVAL]
    for side, better in (("above", "lower"), ("below", "higher")):
        wrong = [c for c in rest if c.state == "broken" and c.figure.better == better]
        if wrong:
            nouns = joined([_noun(check) for check in wrong])
            plural = len(wrong) > 1 or wrong[0].figure.name.endswith("frames")
            yield f"{nouns} {'are' if plural else 'is'} {side} {_their_limit(len(wrong))}"
    kept = sum(check.state == "kept" for check in rest)
    if kept:
        measures = counted(kept, "measure")
        if kept < len(rest):
            measures = "the other measure" if kept == 1 else f"the other {measures}"
        keep = "keep their limits" if kept > 1 else "keeps its limit"
        yield f"{measures} of motion, colour and edges {keep}"
    unknown = [check for check in rest if check.state == "unmeasured"]
    if unknown and report.frames_with_face:
        yield f"{joined([_noun(check) for check in unknown])} could not be measured"


def _identity_clause(check: Check | None, report: Report) -> Iterator[str]:
    if check is None:
        return
    if check.state == "unmeasured":
        if report.frames_with_face:
            yield f"whether it is the source was not judged: {check.figure.absent or 'no value'}"
        return
    judge = " (to a net that took part in training)" if _TRAINED_WITH in check.figure.net else ""
    share = check.figure.value or 0.0
    only = "" if check.state == "kept" else f" in {100.0 * share:.0f} % of the frames only"
    yield f"recognisable as the source{only}{judge}"


def _following_clauses(checks: Sequence[Check]) -> Iterator[str]:
    """A thing follows only if all of its measures say so."""
    states: dict[str, set[CheckState]] = {}
    for check in checks:
        states.setdefault(_FOLLOWING[check.figure.name], set()).add(check.state)
    order = [noun for noun in dict.fromkeys(_FOLLOWING.values()) if noun in states]
    bad = [noun for noun in order if "broken" in states[noun]]
    good = [noun for noun in order if noun not in bad and "kept" in states[noun]]
    if good:
        yield f"{joined(good)} {'follow' if _plural(good) else 'follows'} the target"
    if bad:
        does = "do" if _plural(bad) else "does"
        yield f"{joined(bad)} {does} not{'' if good else ' follow the target'}"


def _plural(nouns: Sequence[str]) -> bool:
    return len(nouns) > 1 or nouns[0].endswith("s")


def _noun(check: Check) -> str:
    return noun_of(check.figure.name, check.figure.title)


def _their_limit(n: int) -> str:
    return "the limit" if n == 1 else "their limits"


def verdict_as_text(report: Report) -> str:
    """The verdict, and what is broken, in lines for a terminal."""
    verdict = verdict_of(report)
    lines = [f"{verdict.headline}.", *([verdict.sentence] if verdict.sentence else [])]
    for check in (*verdict.of("broken"), *verdict.of("unmeasured")):
        figure = check.figure
        value = number_text(figure.value, figure.unit)
        found = f"no value: {figure.absent}"
        if figure.value is not None:
            found = f"{value} {unit_text(figure.unit)}".rstrip()
        limit = f"limit {limit_text(figure)}"
        lines.append(f"  {check.state}: {figure.title} ({figure.name}): {found}; {limit}")
    return "\n".join(map(escaped, lines))


def broken_limits(report: Report) -> list[str]:
    """Why the verdict is no pass, in words: the broken limits, or that nothing could be judged.

    A limit that could not be measured is not broken: nobody has to blink in a clip.
    """
    verdict = verdict_of(report)
    if verdict.state == "unknown":
        return [first_lower(verdict.headline)]
    expressions = []
    for check in verdict.of("broken"):
        figure = check.figure
        expressions.append(f"{figure.name}{sign_of(figure.better)}{figure.limit!r}")
    return [str(broken) for broken in check_limits(report, expressions)]
