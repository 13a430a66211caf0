"""The rules of the gate: publish a candidate that is better on confirmed frames and non-inferior on replayed ones.

Frames confirmed at the site decide. Replayed data can veto an insignificant gain, but never a significant gain on
confirmed frames. docs/learning.md has the rules as a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fetaliqa.retraining.gate_figures import SURE_SUBJECTS

CONFIRMED, ORIGINAL, SWEEPS = "confirmed", "original", "sweeps"  # groups of validation cases

# Of confirmed frames. Recall and specificity are reported but not compared: they trade off against each other.
DECIDING = ("dice", "f1", "balanced_accuracy", "ac_error")
GAINS = ("dice", "f1")
GUARDS = ("dice", "f1", "ac_error", "score")  # of replayed data
SHOWN = {
    "dice": "Dice",
    "f1": "F1",
    "recall": "recall",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "ac_error": "AC error",
    "score": "challenge score",
}

MIN_GAIN = 0.001  # smaller differences do not show in three decimals
MAX_LOSS = 0.01  # of any figure; smaller losses are not noticeable
MAX_LOSS_OF_SCORE = 0.05  # of the challenge score, which an equally good neighbouring frame changes too
LARGE_LOSS = 0.1  # a loss that counts on synthetic data too, and on confirmed frames even if not significant
MIN_FOUND = 0.05  # least Dice and recall
MIN_SPECIFICITY = 0.1  # below, a model calls everything positive
# Least number of empty frames: a model with specificity 0.7 calls three of three positive in 3 % of cases.
MIN_EMPTY = 3

# rule that decided
SURELY_BETTER, BETTER = "surely_better", "better"
NOTHING_TO_COMPARE, FINDS_NOTHING, ALL_POSITIVE = "nothing_to_compare", "finds_nothing", "all_positive"
WORSE, NOT_BETTER, FORGETS = "worse", "not_better", "forgets"

Group = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Decision of the gate on a candidate.

    Attributes:
        passed: whether it may be published.
        rule: that decided: ``surely_better`` or ``better``; ``nothing_to_compare``, ``finds_nothing``,
            ``all_positive``, ``worse``, ``not_better`` or ``forgets``.
        reason: the decisive figures, in words.
        figure: name of the figure that stopped it; None otherwise.
    """

    passed: bool
    rule: str
    reason: str
    figure: str | None = None


def verdict(groups: dict[str, Group]) -> Verdict:
    """Judge a candidate by the figures of both models.

    Args:
        groups: as ``compare`` measures them.
    """
    own = groups.get(CONFIRMED)
    if own is None or own["figures"].get("dice") is None:
        return Verdict(False, NOTHING_TO_COMPARE, "no outline of the confirmed validation cases could be compared")
    if useless := _finds_nothing(own) or _all_positive(own):
        return useless
    gained = max(difference for _, difference in _differences(own, DECIDING))
    sure = any(_sure(own, name) == "better" and own["figures"][name]["difference"] >= MIN_GAIN for name in GAINS)
    stopped = _worse(own, gained)
    if stopped is None and not sure:
        stopped = _not_better(own, gained) or _forgets(groups, gained)
    if stopped is not None:
        return stopped
    reason = f"{_own_figures(own)} ({'significantly better' if sure else 'better, but not significant'})"
    losses = _replay_losses(groups)
    if losses:
        reason += f"; worse on replayed data: {losses}"
    return Verdict(True, SURELY_BETTER if sure else BETTER, reason)


# -- rules ------------------------------------------------------------------------------------------


def _finds_nothing(own: Group) -> Verdict | None:
    figures = own["figures"]  # not F1: it is small where few of many confirmed frames have an outline
    if min(figures[name]["candidate"] for name in ("dice", "recall")) >= MIN_FOUND:
        return None
    return Verdict(False, FINDS_NOTHING, f"it finds next to nothing: {_own_figures(own)}", "dice")


def _all_positive(own: Group) -> Verdict | None:
    figure = own["figures"].get("specificity")
    if figure is None or own["empty"] < MIN_EMPTY or figure["candidate"] > MIN_SPECIFICITY:
        return None
    now, before = (round((1 - figure[model]) * own["empty"]) for model in ("candidate", "published"))
    called = f"{now} of {own['empty']} confirmed empty frames positive (the published model: {before})"
    return Verdict(False, ALL_POSITIVE, f"it calls {called}", "specificity")


def _worse(own: Group, gained: float) -> Verdict | None:
    """A figure got significantly worse, or worse by a large amount and by more than was gained."""
    losses = []
    for name, difference in _differences(own, DECIDING):
        surely = _sure(own, name) == "worse" and -difference > MAX_LOSS
        if surely or -difference > max(LARGE_LOSS, gained):
            losses.append((difference, name, "significantly worse" if surely else "more than was gained"))
    if not losses:
        return None
    _, name, how = min(losses)
    return Verdict(False, WORSE, f"{_change(name, own)}, {how}", name)


def _not_better(own: Group, gained: float) -> Verdict | None:
    """No difference is significant: the gain on confirmed frames must exceed the loss."""
    lost, name = min((difference, name) for name, difference in _differences(own, DECIDING))
    if gained < MIN_GAIN and -lost < MIN_GAIN:
        return Verdict(False, NOT_BETTER, f"not better in any figure: {_own_figures(own)}")
    if -lost >= gained:
        return Verdict(False, WORSE, f"{_change(name, own)}, and no figure gained more", name)
    return None


def _forgets(groups: dict[str, Group], gained: float) -> Verdict | None:
    """Replayed data lost more than an insignificant gain allows; synthetic data count for large losses only."""
    losses = []
    for kind, group in groups.items():
        if kind == CONFIRMED:
            continue
        for name, difference in _differences(group, GUARDS):
            limit = LARGE_LOSS if group["synthetic"] else _max_loss(name)
            surely = _sure(group, name) == "worse" and not group["synthetic"]
            if -difference > limit and (surely or -difference > gained):
                losses.append((difference, name, kind))
    if not losses:
        return None
    _, name, kind = min(losses)
    return Verdict(
        False,
        FORGETS,
        f"{_change(name, groups[kind])}, and the gain on confirmed frames is not significant: "
        f"{_own_figures(groups[CONFIRMED])}",
        name,
    )


# -- reading the figures ----------------------------------------------------------------------------


def _differences(group: Group, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for name in names:
        figure = group["figures"].get(name)
        if figure is not None:
            yield name, figure["difference"]


def _sure(group: Group, name: str) -> str | None:
    figure = group["figures"].get(name)
    return None if figure is None else figure["sure"]


def _max_loss(name: str) -> float:
    return MAX_LOSS_OF_SCORE if name == "score" else MAX_LOSS


# -- words ------------------------------------------------------------------------------------------


def _own_figures(own: Group) -> str:
    """The main figures of confirmed frames."""
    figures = [
        f"{SHOWN[name]} {_before_after(own['figures'][name])}"
        for name in ("dice", "f1", "specificity")
        if own["figures"].get(name) is not None
    ]
    subjects = f"{own['subjects']} subject{'s' * (own['subjects'] != 1)}"
    return f"{', '.join(figures)} on {own['outlined']} outlined and {own['empty']} empty frames of {subjects}"


def _change(name: str, group: Group) -> str:
    """One figure of a group, before and after, and on what."""
    kind = "synthetic phantom " if group["synthetic"] else ""
    where = f"{group['cases']} {kind}validation case{'s' * (group['cases'] != 1)}"
    return f"{SHOWN[name]} {_before_after(group['figures'][name])} on {where}"


def _before_after(figure: dict[str, Any]) -> str:
    return f"{figure['published']:.3f} -> {figure['candidate']:.3f}"


def _replay_losses(groups: dict[str, Group]) -> str:
    """The largest loss of each group of replayed data above ``MAX_LOSS``."""
    changes = []
    for kind, group in groups.items():
        losses = [
            (difference, name) for name, difference in _differences(group, GUARDS) if -difference > _max_loss(name)
        ]
        if kind != CONFIRMED and losses:
            changes.append(_change(min(losses)[1], group))
    return ", ".join(changes)


def advice(gate: dict[str, Any], mode: str) -> str:
    """What to do after a refusal; empty where there is nothing to say.

    Args:
        gate: as ``compare`` returns it.
        mode: that the candidate was trained in.
    """
    full = " or train with mode full" if mode == "quick" else ""
    figures = gate["groups"].get(CONFIRMED, {}).get("figures", {})
    more = {
        NOTHING_TO_COMPARE: "annotate frames of more patients, so that some of them are there to check on",
        FINDS_NOTHING: f"confirm outlined frames of more patients,{full}".rstrip(","),
        ALL_POSITIVE: "confirm more empty frames, of about as many patients as have outlined ones",
        NOT_BETTER: f"confirm frames that the published model gets wrong,{full}".rstrip(","),
        FORGETS: (
            f"confirm frames of more patients: from {SURE_SUBJECTS} validation patients on (about a quarter of "
            "those that have outlines) a gain can be sure, and then decides alone"
        ),
    }
    if gate.get("rule") == WORSE:
        return f"confirm more {_wanted(gate.get('figure'), figures)} frames, of other patients,{full}".rstrip(",")
    return more.get(gate.get("rule", ""), "")


def _wanted(name: str | None, figures: dict[str, Any]) -> str:
    """The kind of frame that would improve a figure: the one whose own rate fell most."""
    if name not in ("f1", "balanced_accuracy"):
        return "outlined"
    shares = {"outlined": figures.get("recall"), "empty": figures.get("specificity")}
    changes = {kind: figure["difference"] for kind, figure in shares.items() if figure is not None}
    return min(changes, key=changes.__getitem__) if changes else "outlined"


def remarks(gate: dict[str, Any]) -> list[str]:
    """Remarks on what the figures cannot show."""
    own = gate["groups"].get(CONFIRMED)
    if own is None or own.get("empty", MIN_EMPTY) >= MIN_EMPTY:
        return []
    return [
        f"{own['empty']} confirmed empty frame(s) for validation; {MIN_EMPTY} are needed to detect a model that "
        "calls everything positive: confirm empty frames too, of several patients"
    ]


def sentence(name: str, version: str, gate: dict[str, Any], published: bool, why_not: str = "") -> str:
    """The outcome in words: the figures, whether it was published, and what to do otherwise.

    Args:
        name, version: of the candidate.
        gate: as ``compare`` returns it, with ``advice``.
        published: whether it was.
        why_not: why a candidate that passed was not published.
    """
    if published:
        return f"candidate {version}: {gate['reason']}: published"
    if gate["passed"]:
        return f"candidate {version}: {gate['reason']}: not published" + (f" ({why_not})" if why_not else "")
    steps = [f"{gate['advice']};"] if gate.get("advice") else []
    command = f"`fetaliqa models publish {name}@{version} --force --reason WHY`"
    return f"candidate {version}: {gate['reason']}: not published. Next: " + " ".join(
        [*steps, f"to publish it all the same, on record: {command}"]
    )
