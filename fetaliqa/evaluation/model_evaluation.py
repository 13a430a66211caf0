"""Evaluation of a model on labelled cases: frames, outlines, circumferences, challenge scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fetaliqa.datasets.labelled_data import LabelledCase, LabelledData
from fetaliqa.errors import OptionError
from fetaliqa.evaluation.bootstrap import LEVEL, draw_cases
from fetaliqa.evaluation.case_scores import (
    CHALLENGE_NOTE,
    CaseOutcome,
    Measurement,
    case_outcome,
    challenge_figures,
    circumference_figures,
    image_figures,
    worth_assessing,
)
from fetaliqa.evaluation.frame_figures import Figure, Protocol, judge
from fetaliqa.evaluation.frame_scorers import BundleScorer, FrameScorer
from fetaliqa.evaluation.frame_table import CaseProgress, CaseReader, FrameTable, Labels, collect
from fetaliqa.evaluation.line_figures import line_figures
from fetaliqa.inference.assessment import model_info
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.model import Bundle

EVALUATION_SCHEMA = 1
ALL_SWEEPS, MEASURED_SWEEPS = "all_sweeps", "measured_sweeps_only"
SYNTHETIC_NOTE = "accuracy on synthetic phantoms says nothing about patients"
MAX_DRAWS = 100_000
FEW_CASES = 10  # below this number, percentile intervals are too narrow


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Results of an evaluation.

    Attributes:
        model: name, version, task, anatomy, measurement, fingerprint, thresholds.
        data: name, fingerprint, synthetic, numbers of cases and subjects.
        settings: part, split, labels, bootstrap draws, seed, level.
        case_ids: the evaluated cases; the ``case`` of a table's row is an index into this.
        protocols: by name: ``all_sweeps``, as in practice; and ``measured_sweeps_only``, the paper's protocol,
            which excludes sweeps without a reference circumference, and with them most possible false positives;
            None if no sweep has one.
        challenge: figures by mode (``official``, ``corrected``), or None.
        circumference: see ``circumference_figures``, or None.
        images: see ``image_figures``, or None.
        lines: see ``line_figures``, or None.
        notes: notes for the reader, one sentence each.
        table: table of all frames.
        outcomes: results of all assessed cases.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    settings: dict[str, Any]
    case_ids: tuple[str, ...]
    protocols: dict[str, Protocol | None]
    challenge: dict[Any, dict[str, Figure]] | None
    circumference: dict[str, Any] | None
    images: dict[str, Any] | None
    notes: tuple[str, ...]
    table: FrameTable
    outcomes: tuple[CaseOutcome, ...]
    lines: dict[str, Any] | None = None

    def measurements(self) -> list[Measurement]:
        """Measurements of all sweeps with a reference circumference."""
        return [measurement for outcome in self.outcomes for measurement in outcome.measurements]

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON values, without those of single frames."""
        return {
            "schema": EVALUATION_SCHEMA,
            "model": self.model,
            "data": self.data,
            "settings": self.settings,
            "notes": list(self.notes),
            "protocols": {name: part and part.to_json() for name, part in self.protocols.items()},
            "challenge": None
            if self.challenge is None
            else {mode: _plain(figures) for mode, figures in self.challenge.items()},
            "circumference": _plain(self.circumference),
            "images": _plain(self.images),
            "lines": _plain(self.lines),
            "measurements": [asdict(measurement) for measurement in self.measurements()],
            "case_ids": list(self.case_ids),
        }


def evaluate(
    model: FrameScorer | Bundle,
    data: LabelledData,
    case_ids: Sequence[str],
    *,
    labels: Labels = "any",
    bootstrap: int = 1000,
    seed: int = 0,
    challenge: bool = True,
    device: str = "auto",
    weights: str | None = None,
    views: int = 1,
    about: dict[str, Any] | None = None,
    notes: Sequence[str] = (),
    progress: CaseProgress | None = None,
) -> EvaluationResult:
    """Evaluate a model on labelled cases.

    Args:
        model: a bundle, or a loaded model.
        data: the data set.
        case_ids: cases to evaluate.
        labels: positive frames: those with ``any`` outline (as in the paper), or ``optimal`` planes only.
        bootstrap: draws of cases for the 95 % intervals; 0 for no intervals.
        seed: random seed of the draws.
        challenge: also assess whole cases: challenge scores, circumferences, single images; segmentation models
            only. Challenge scores and circumferences do not depend on ``labels``.
        device: device of a bundle.
        weights: foundation-model weights for a bundle; None for the user's imported ones.
        views: test-time augmentation for a bundle, see ``Predictor``.
        about: additional ``settings``: ``part`` and ``split`` of the cases.
        notes: additional ``notes``.
        progress: called with the cases done and their number.

    Raises:
        OptionError: for an invalid option, no case, or no labelled frame.
        NotFoundError, SweepError: when a case is missing or cannot be read.
        BundleError, WeightsError: when the bundle cannot be loaded.
    """
    if labels not in ("any", "optimal"):
        raise OptionError(f"labels is {labels!r}; any or optimal is accepted")
    if not 0 <= bootstrap <= MAX_DRAWS or seed < 0:
        raise OptionError(
            f"bootstrap {bootstrap}, seed {seed}; 0 to {MAX_DRAWS} draws and a seed from 0 are accepted"
        )
    if not case_ids:
        raise OptionError(f"{data.name}: no case to evaluate; choose another part or data set")
    if len(set(case_ids)) < len(case_ids):
        duplicate = next(case_id for number, case_id in enumerate(case_ids) if case_id in case_ids[:number])
        raise OptionError(f"{data.name}: case {duplicate} is given twice; name each case once")
    scorer: FrameScorer = model  # type: ignore[assignment]
    if isinstance(model, Bundle):
        scorer = BundleScorer(Predictor(model, device, weights=weights, views=views))
    outcomes: list[CaseOutcome] = []
    numbers = {case_id: number for number, case_id in enumerate(case_ids)}

    def visit(case: LabelledCase, reader: CaseReader) -> None:
        if challenge and worth_assessing(case, reader):
            outcomes.append(case_outcome(case, numbers[case.case_id], reader))

    table = collect(scorer, data, case_ids, labels, progress, visit)
    if not len(table):
        raise OptionError(f"{data.name}: none of the {len(case_ids)} cases has a labelled frame")
    draws = draw_cases(len(case_ids), bootstrap, seed)
    masks = scorer.card.task == "segmentation"
    measured = table.select(table.measured)
    scores = challenge_figures(outcomes, draws)
    return EvaluationResult(
        model=_model(scorer),
        data=_data(data, case_ids),
        settings={
            "part": "all",
            "split": None,
            "labels": labels,
            "views": views,
            "bootstrap": bootstrap,
            "seed": seed,
            "level": LEVEL,
            "resampled": "cases",
        }
        | (about or {}),
        case_ids=tuple(case_ids),
        protocols={
            ALL_SWEEPS: judge(table, draws, masks=masks),
            MEASURED_SWEEPS: judge(measured, draws, masks=masks) if len(measured) else None,
        },
        challenge=scores,
        circumference=circumference_figures(
            [each for outcome in outcomes for each in outcome.measurements], draws
        ),
        images=image_figures(outcomes, draws),
        notes=(*_notes(scorer, data, case_ids, outcomes, scores), *notes),
        table=table,
        outcomes=tuple(outcomes),
        lines=line_figures([each for outcome in outcomes for each in outcome.lines], draws),
    )


def _model(scorer: FrameScorer) -> dict[str, Any]:
    threshold = scorer.card.threshold
    return model_info(scorer.card) | {
        "fingerprint": scorer.fingerprint,
        "grid": scorer.image_size,
        "threshold": threshold.probability,
        "frame_threshold": threshold.frame,
        "min_foreground_fraction": threshold.min_foreground_fraction,
    }


def _data(data: LabelledData, case_ids: Sequence[str]) -> dict[str, Any]:
    subjects = {entry.case_id: entry.subject_id for entry in data.entries()}
    return {
        "name": data.name,
        "anatomy": data.anatomy.name,
        "synthetic": data.synthetic,
        "fingerprint": data.fingerprint(),
        "cases": len(case_ids),
        "subjects": len({subjects.get(case_id, case_id) for case_id in case_ids}),
    }


def _notes(
    scorer: FrameScorer,
    data: LabelledData,
    case_ids: Sequence[str],
    outcomes: Sequence[CaseOutcome],
    scores: dict[Any, dict[str, Figure]] | None,
) -> list[str]:
    notes = []
    if data.synthetic:
        notes.append(f"The data are synthetic: {SYNTHETIC_NOTE}.")
    if scorer.card.anatomy != data.anatomy.name:
        anatomy = anatomy_named(scorer.card.anatomy).name
        notes.append(
            f"The model outlines the {anatomy}, the data set the {data.anatomy.name}: the figures mean little."
        )
    if len(case_ids) < FEW_CASES:
        notes.append(f"Only {len(case_ids)} case(s): the confidence intervals are too narrow.")
    if scorer.card.task == "segmentation":
        notes.append(
            "The frame score is the highest pixel threshold at which the frame is positive. It is not trained as "
            "a probability of the frame, so its calibration error is descriptive."
        )
    if scores is not None:
        notes.append(CHALLENGE_NOTE)
        counted = sum(outcome.scores is not None for outcome in outcomes)
        if counted < len(case_ids):
            notes.append(
                f"Challenge scores cover the {counted} of {len(case_ids)} cases with a reference circumference."
            )
        if scores["official"]["dice_soft"].value is None:
            notes.append(
                "The official soft Dice is infinite: a case without a best frame was compared with its last one."
            )
    return notes


def _plain(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    return {name: value.to_json() if isinstance(value, Figure) else value for name, value in figures.items()}
