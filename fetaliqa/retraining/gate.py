"""The gate: compares a candidate with the published model on the same cases and decides on publishing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase, LabelledData
from fetaliqa.evaluation.case_scores import case_outcome, worth_assessing
from fetaliqa.evaluation.frame_scorers import BundleScorer
from fetaliqa.evaluation.frame_table import CaseReader
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure import fit_mask, main_component
from fetaliqa.measure.anatomy import Anatomy, anatomy_named
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import Bundle
from fetaliqa.model.json_records import to_json
from fetaliqa.retraining.gate_figures import COLUMN, SUMS, by_subject, paired_figures
from fetaliqa.retraining.gate_pictures import ComparedFrame, compared_frames, most_different, write_pictures
from fetaliqa.retraining.gate_verdict import CONFIRMED, ORIGINAL, SWEEPS, verdict

__all__ = ["CONFIRMED", "ORIGINAL", "SWEEPS", "GateGroup", "compare"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class GateGroup:
    """Validation cases that are compared together.

    Attributes:
        name: ``confirmed`` (the studies' own), ``original`` (replayed training data) or ``sweeps``
            (whole sweeps of the replayed data).
        data: the data set.
        case_ids: its validation cases.
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
    pictures: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure both models on the same frames and compare them, case by case.

    Args:
        candidate, published: the models.
        groups: what they are compared on.
        device: that computes.
        weights: of FetalCLIP, for models that need them.
        progress: called with what is done, and with all of it.
        pictures: folder for pictures of the confirmed frames on which they differ most; None: none are made.
        seed: of the bootstrap.

    Returns:
        ``passed``, ``rule``, ``reason`` and ``figure`` (see ``Verdict``); ``published`` and ``candidate`` (name,
        version, fingerprint); and ``groups``: by name ``cases``, ``subjects``, ``frames``, of these ``outlined``
        and ``empty``, ``synthetic``, and ``figures`` (see ``paired_figures``); with ``pictures`` these frames
        (see ``ComparedFrame``).

    Raises:
        SweepError, LabelError, BundleError, WeightsError: when a case or a model cannot be read.
    """
    models = [Predictor(bundle, device, weights=weights) for bundle in (published, candidate)]
    total = 2 * sum(len(group.case_ids) for group in groups)
    done, measured = 0, {}
    shown: list[ComparedFrame] = []
    for group in groups:
        sums = np.zeros((2, len(group.case_ids), len(SUMS)))
        frames, empty, subjects = 0, 0, []
        for number, case_id in enumerate(group.case_ids):
            case = group.data.read(case_id)
            frames += int(case.known.sum())
            subjects.append(case.subject_id)
            outlines = [_Outlines(model, case) for model in models]
            for which, one in enumerate(outlines):
                sums[which, number] = one.sums()
                done += 1
                progress(done, total)
            empty += outlines[0].empty
            sums[:, number, COLUMN["ac"] : COLUMN["acs"] + 1] = _paired_ac_errors(*outlines)
            if pictures is not None and group.name == CONFIRMED:
                shown += compared_frames(case_id, outlines[0].table, outlines[1].table)
        outlined = int(sums[0, :, COLUMN["outlined"]].sum())
        measured[group.name] = {
            "cases": len(group.case_ids),
            "subjects": len(set(subjects)),
            "frames": frames,
            "outlined": outlined,
            "empty": empty,
            "synthetic": group.data.synthetic,
            "figures": paired_figures(by_subject(sums, subjects), seed=seed),
        }
    decided = verdict(measured)
    result: dict[str, Any] = {
        **asdict(decided),
        "published": _described(published),
        "candidate": _described(candidate),
        "groups": measured,
    }
    if pictures is not None and shown:
        confirmed = next(group.data for group in groups if group.name == CONFIRMED)
        result["pictures"] = write_pictures(pictures, most_different(shown), confirmed, models)
    return result


def _described(bundle: Bundle) -> dict[str, Any]:
    threshold = to_json(bundle.card.threshold)
    return {
        "name": bundle.card.name,
        "version": bundle.card.version,
        "fingerprint": bundle.fingerprint,
        "threshold": threshold,
    }


class _Outlines:
    """Predictions of one model for the known frames of a case."""

    def __init__(self, predictor: Predictor, case: LabelledCase) -> None:
        self._case = case
        self.anatomy = anatomy_named(predictor.card.anatomy)
        self._threshold = predictor.card.threshold.probability
        self._reader = CaseReader(BundleScorer(predictor), case, 0, "any", None)
        self.circumferences = self._circumferences()  # first: these predictions are reused
        self._score = self._challenge()
        self.table = self._reader.table()

    def _circumferences(self) -> dict[int, float]:
        """Size by frame, where rater and model have an outline; mm, or pixels (only ratios are used)."""
        case = self._case
        grid = SquareGrid(case.frames.shape[1], case.frames.shape[2], self._reader.image_size)
        seen = field_of_view(case.frames)
        chosen = np.flatnonzero(case.known & (case.grades() > 0) & ~self._reader.padding)
        sizes: dict[int, float] = {}
        for chunk in self._reader.predict(case.frames, chosen):
            if chunk.probabilities is None:
                continue
            masks = grid.masks_to_native(chunk.probabilities, self._threshold)
            for frame, mask in zip(chunk.indices, masks):
                size = _size(np.where(seen > 0, mask, 0).astype(np.uint8), case, seen, self.anatomy)
                if size is not None:
                    sizes[int(frame)] = size
        return sizes

    def _challenge(self) -> float | None:
        """The ACOUSLIC-AI challenge score (corrected), for whole cases with a reference circumference."""
        if self._case.weights is not None or not worth_assessing(self._case, self._reader):
            return None
        outcome = case_outcome(self._case, 0, self._reader)
        return None if outcome.scores is None else outcome.scores["corrected"].score

    @property
    def empty(self) -> int:
        """Number of frames labelled as empty."""
        return int((~self.table.target).sum())

    def sums(self) -> np.ndarray:
        """The case's row of sums (``SUMS``); AC errors are filled in later."""
        table, case = self.table, self._case
        weights = np.ones(len(table)) if case.weights is None else case.weights[table.frame]
        dice = table.dice()[table.target]
        kinds = [
            weights[(table.target == truth) & (table.positive == answer)].sum()
            for truth, answer in ((True, True), (False, True), (True, False), (False, False))
        ]
        score = (0.0, 0) if self._score is None else (self._score, 1)
        return np.array([np.nan_to_num(dice).sum(), len(dice), *kinds, 0, 0, *score], float)


def _size(mask: np.ndarray, case: LabelledCase, seen: np.ndarray, anatomy: Anatomy) -> float | None:
    outline = main_component(mask)
    return None if outline is None else fit_mask(outline, case.spacing or (1.0, 1.0), seen, anatomy).size_mm


def _paired_ac_errors(published: _Outlines, candidate: _Outlines) -> np.ndarray:
    """[2, 2]: per model the sum of relative AC errors against the rater's outlines, and the number of frames.

    Only frames that both models outline count; missed outlines are measured by Dice and F1.
    """
    case = published._case
    seen = field_of_view(case.frames)
    result = np.zeros((2, 2))
    for frame in published.circumferences.keys() & candidate.circumferences.keys():
        reference = _size((case.masks[frame] > 0).astype(np.uint8), case, seen, published.anatomy)
        if reference:
            for which, one in enumerate((published, candidate)):
                result[which] += [abs(one.circumferences[frame] - reference) / reference, 1]
    return result
