"""The gate: a candidate against the published model on the same cases, and whether it may take its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fetaliqa.biometry import fit_outline, main_component
from fetaliqa.datasets.labelled import LabelledCase, LabelledData
from fetaliqa.experiments.case_scores import case_outcome, worth_assessing
from fetaliqa.experiments.frame_table import CaseReader
from fetaliqa.experiments.scorers import BundleScorer
from fetaliqa.geometry import SquareGrid
from fetaliqa.inference.predictor import Predictor
from fetaliqa.metrics.bootstrap import draw_cases, percentile_interval, ratios
from fetaliqa.models import Bundle
from fetaliqa.models.records import to_json
from fetaliqa.sector import field_of_view

DRAWS = 2000
MAX_LOSS = 0.01  # of any figure's mean; what a few validation cases cannot tell apart, and no reader would notice
# one value a case, of one chosen frame a sweep: the next frame, as good, moves it by more than that
MAX_LOSS_OF_SCORE = 0.05
FIGURES = ("dice", "f1", "ac_error", "score")
LOWER_IS_BETTER = ("ac_error",)
SHOWN = {"dice": "Dice", "f1": "F1", "ac_error": "AC error", "score": "challenge score"}
# of each case: sum of Dice, frames with outline; hits, wrong frames, weighted; AC errors, how many; score, cases
COLUMNS = 8

CONFIRMED, ORIGINAL, SWEEPS = "confirmed", "original", "sweeps"  # groups

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class GateGroup:
    """Validation cases that are judged together.

    Attributes:
        name: ``confirmed`` (the studies' own), ``original`` (what the model was trained on before) or ``sweeps``
            (of that, whole sweeps).
        data: where they are.
        case_ids: which.
    """

    name: str
    data: LabelledData
    case_ids: tuple[str, ...]


def compare(
    candidate: Bundle,
    published: Bundle,
    groups: Sequence[GateGroup],
    *,
    device: str = "auto",
    weights: str | None = None,
    progress: Progress = lambda *_: None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure both models on the same frames and compare them, case by case.

    Returns:
        ``passed``, ``reason`` (the sentence's second half), ``published`` and ``candidate`` (name, version,
        fingerprint), and ``groups``: by name ``cases``, ``frames``, ``synthetic``, and ``figures`` by name with
        ``published``, ``candidate``, ``difference`` (positive: the candidate is better), ``interval`` (95 %, over
        cases; None with fewer than two that hold anything).

    Raises:
        SweepError, LabelError, BundleError, WeightsError: when a case or a model cannot be read.
    """
    models = [Predictor(bundle, device, weights=weights) for bundle in (published, candidate)]
    total = 2 * sum(len(group.case_ids) for group in groups)
    done, measured = 0, {}
    for group in groups:
        sums = np.zeros((2, len(group.case_ids), COLUMNS))
        frames = 0
        for number, case_id in enumerate(group.case_ids):
            case = group.data.read(case_id)
            frames += int(case.known.sum())
            outlines = [_Outlines(model, case) for model in models]
            for which, one in enumerate(outlines):
                sums[which, number] = one.sums()
                done += 1
                progress(done, total)
            sums[:, number, 4:6] = _paired_ac_errors(*outlines)
        measured[group.name] = {
            "cases": len(group.case_ids),
            "frames": frames,
            "synthetic": group.data.synthetic,
            "figures": paired_figures(sums, draw_cases(len(group.case_ids), DRAWS, seed)),
        }
    passed, reason = verdict(measured)
    return {
        "passed": passed,
        "reason": reason,
        "published": _told(published),
        "candidate": _told(candidate),
        "groups": measured,
    }


def _told(bundle: Bundle) -> dict[str, Any]:
    threshold = to_json(bundle.card.threshold)
    return {
        "name": bundle.card.name,
        "version": bundle.card.version,
        "fingerprint": bundle.fingerprint,
        "threshold": threshold,
    }


class _Outlines:
    """What one model makes of the known frames of a case."""

    def __init__(self, predictor: Predictor, case: LabelledCase) -> None:
        self._case = case
        self._threshold = predictor.card.threshold.probability
        self._reader = CaseReader(BundleScorer(predictor), case, 0, "any", None)
        self.circumferences = self._circumferences()  # first: what is predicted here is not predicted again
        self._score = self._challenge()
        self._table = self._reader.table()

    def _circumferences(self) -> dict[int, float]:
        """Of the outlined frames that the model outlines too, in mm (or pixels, which ratios do not mind)."""
        case = self._case
        grid = SquareGrid(case.frames.shape[1], case.frames.shape[2], self._reader.image_size)
        seen = field_of_view(case.frames)
        chosen = np.flatnonzero(case.known & (case.grades() > 0) & ~self._reader.padding)
        found: dict[int, float] = {}
        for chunk in self._reader.predict(case.frames, chosen):
            if chunk.probabilities is None:
                continue
            masks = grid.masks_to_native(chunk.probabilities, self._threshold)
            for frame, mask in zip(chunk.indices, masks):
                size = _circumference(np.where(seen > 0, mask, 0).astype(np.uint8), case, seen)
                if size is not None:
                    found[int(frame)] = size
        return found

    def _challenge(self) -> float | None:
        """The challenge's score (corrected), where the case is whole and has a reference circumference."""
        if self._case.weights is not None or not worth_assessing(self._case, self._reader):
            return None
        outcome = case_outcome(self._case, 0, self._reader)
        return None if outcome.scores is None else outcome.scores["corrected"].score

    def sums(self) -> np.ndarray:
        """The case's row of sums; AC errors are filled in later."""
        table, case = self._table, self._case
        weights = np.ones(len(table)) if case.weights is None else case.weights[table.frame]
        dice = table.dice()[table.target]
        hits = (weights * (table.target & table.positive)).sum()
        wrong = (weights * (table.target != table.positive)).sum()
        score = (0.0, 0) if self._score is None else (self._score, 1)
        return np.array([np.nan_to_num(dice).sum(), len(dice), hits, wrong, 0, 0, *score], float)


def _circumference(mask: np.ndarray, case: LabelledCase, seen: np.ndarray) -> float | None:
    outline = main_component(mask)
    return None if outline is None else fit_outline(outline, case.spacing or (1.0, 1.0), seen).circumference_mm


def _paired_ac_errors(published: _Outlines, candidate: _Outlines) -> np.ndarray:
    """[2, 2]: per model the sum of relative AC errors against the rater's own outlines, and of how many frames.

    Only of frames that both models outline: what one of them misses is counted by Dice and F1.
    """
    case = published._case
    seen = field_of_view(case.frames)
    result = np.zeros((2, 2))
    for frame in published.circumferences.keys() & candidate.circumferences.keys():
        reference = _circumference((case.masks[frame] > 0).astype(np.uint8), case, seen)
        if reference:
            for which, one in enumerate((published, candidate)):
                result[which] += [abs(one.circumferences[frame] - reference) / reference, 1]
    return result


def _figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """From sums [B, COLUMNS] to figures [B]."""
    return {
        "dice": ratios(sums[:, 0], sums[:, 1]),
        "f1": ratios(2 * sums[:, 2], 2 * sums[:, 2] + sums[:, 3]),
        "ac_error": ratios(sums[:, 4], sums[:, 5]),
        "score": ratios(sums[:, 6], sums[:, 7]),
    }


def paired_figures(sums: np.ndarray, draws: np.ndarray) -> dict[str, dict[str, Any] | None]:
    """Figures of both models, and the bootstrap of their differences over the same drawn cases.

    Args:
        sums: [2, C, 8] of the published model and the candidate.
        draws: int [B, C] of ``draw_cases``.

    Returns:
        By name; None where the cases do not have it.
    """
    values = [_figures(own.sum(axis=0, keepdims=True)) for own in sums]
    drawn = [_figures(draws @ own) for own in sums]
    result: dict[str, dict[str, Any] | None] = {}
    for name in FIGURES:
        before, after = (float(one[name][0]) for one in values)
        if not np.isfinite([before, after]).all():
            result[name] = None
            continue
        sign = -1 if name in LOWER_IS_BETTER else 1
        spread = percentile_interval(sign * (drawn[1][name] - drawn[0][name])) if _vary(sums, name) else None
        result[name] = {
            "published": round(before, 5),
            "candidate": round(after, 5),
            "difference": round(sign * (after - before), 5),
            "interval": None if spread is None else [round(spread.low, 5), round(spread.high, 5)],
        }
    return result


def _vary(sums: np.ndarray, name: str) -> bool:
    """Whether two cases or more hold something of a figure; the bootstrap of one says nothing."""
    columns = {"dice": [1], "f1": [2, 3], "ac_error": [5], "score": [7]}[name]
    return int(np.count_nonzero(sums[:, :, columns].any(axis=(0, 2)))) >= 2


def verdict(groups: dict[str, dict[str, Any]]) -> tuple[bool, str]:
    """Whether a candidate is not worse, and the figures that say so.

    It is worse when any figure of any group is surely worse (its whole interval below 0), or its mean is worse by
    more than ``MAX_LOSS`` (``MAX_LOSS_OF_SCORE``); or when there is nothing to compare.
    """
    worse, told = [], []
    for kind, group in groups.items():
        for name, figure in group["figures"].items():
            if figure is None:
                continue
            sentence = _change(name, figure, group)
            surely = figure["interval"] is not None and figure["interval"][1] < 0
            limit = MAX_LOSS_OF_SCORE if name == "score" else MAX_LOSS
            if surely or figure["difference"] < -limit:
                worse.append((figure["difference"], sentence))
            if name == ("score" if kind == SWEEPS else "dice"):
                told.append(sentence)
    if worse:
        return False, min(worse)[1]
    own = groups.get(CONFIRMED)
    if not told or (own is not None and own["figures"]["dice"] is None):
        return False, "no outline of the confirmed validation cases could be compared"
    return True, "; ".join(told)


def _change(name: str, figure: dict[str, Any], group: dict[str, Any]) -> str:
    kind = "synthetic phantom " if group["synthetic"] else ""
    where = f"{group['cases']} {kind}validation case{'s' * (group['cases'] != 1)}"
    return f"{SHOWN[name]} {figure['published']:.3f} -> {figure['candidate']:.3f} on {where}"


def sentence(version: str, gate: dict[str, Any], published: bool, why_not: str = "") -> str:
    """What came of it, in one sentence."""
    outcome = "published" if published else "not published"
    extra = f" ({why_not})" if why_not and gate["passed"] and not published else ""
    return f"candidate {version}: {gate['reason']}: {outcome}{extra}"
