"""How good a model is on labelled cases it has not seen: frames, outlines, circumferences, challenge scores."""

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
from fetaliqa.inference.assessment import model_info
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.model import Bundle

EVALUATION_SCHEMA = 1
ALL_SWEEPS, MEASURED_SWEEPS = "all_sweeps", "measured_sweeps_only"
SYNTHETIC_NOTE = "accuracy on synthetic phantoms says nothing about patients"
MAX_DRAWS = 100_000
FEW_CASES = 10  # below, percentile intervals are too narrow to be taken at their word


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Everything that was found.

    Attributes:
        model: name, version, task, anatomy, measurement, fingerprint, thresholds.
        data: name, fingerprint, synthetic, numbers of cases and subjects.
        settings: part, split, labels, bootstrap draws, seed, level.
        case_ids: the evaluated cases; the ``case`` of a table's row is an index into this.
        protocols: by name: ``all_sweeps``, as in use; and ``measured_sweeps_only``, the paper's filter, which
            drops sweeps without a reference circumference and with them most chances of a false positive; None
            where no sweep has one.
        challenge: figures by mode (``official``, ``corrected``), or None.
        circumference: see ``circumference_figures``, or None.
        images: see ``image_figures``, or None.
        notes: what a reader must know, one sentence each.
        table: every frame.
        outcomes: every assessed case.
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

    def measurements(self) -> list[Measurement]:
        """One per sweep with a reference circumference."""
        return [one for outcome in self.outcomes for one in outcome.measurements]

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON values; figures of single frames are not among them."""
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
            "measurements": [asdict(one) for one in self.measurements()],
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
        data: where the cases are.
        case_ids: which cases.
        labels: ``any`` outline makes a frame positive (the paper), or ``optimal`` planes only.
        bootstrap: draws of cases for the 95 % intervals; 0: no intervals.
        seed: of the draws.
        challenge: also assess whole cases: challenge scores, circumferences, single images. Of segmentation models
            only. Challenge scores and circumferences do not depend on ``labels``.
        device: where a bundle is loaded.
        weights: foundation-model weights for a bundle; None: the user's imported ones.
        views: of each frame for a bundle, see ``Predictor``.
        about: more for ``settings``: ``part`` and ``split`` of the cases.
        notes: more for ``notes``.
        progress: called with the cases done and how many there are.

    Raises:
        OptionError: on an option outside of what it accepts, no case, or no judged frame.
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
        twice = next(case_id for number, case_id in enumerate(case_ids) if case_id in case_ids[:number])
        raise OptionError(f"{data.name}: case {twice} is to be evaluated twice; name each case once")
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
        raise OptionError(f"{data.name}: none of the {len(case_ids)} cases has a frame that somebody judged")
    draws = draw_cases(len(case_ids), bootstrap, seed)
    masks = scorer.card.task == "segmentation"
    kept = table.select(table.measured)
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
            MEASURED_SWEEPS: judge(kept, draws, masks=masks) if len(kept) else None,
        },
        challenge=scores,
        circumference=circumference_figures([one for each in outcomes for one in each.measurements], draws),
        images=image_figures(outcomes, draws),
        notes=(*_notes(scorer, data, case_ids, outcomes, scores), *notes),
        table=table,
        outcomes=tuple(outcomes),
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
        wanted = anatomy_named(scorer.card.anatomy).name
        notes.append(
            f"The model outlines the {wanted}, the data set the {data.anatomy.name}: the figures mean little."
        )
    if len(case_ids) < FEW_CASES:
        notes.append(f"Only {len(case_ids)} case(s): intervals from so few are too narrow.")
    if scorer.card.task == "segmentation":
        notes.append(
            "The frame score is the pixel probability at which the frame would just be called positive; training "
            "did not make it a probability of the frame, so its calibration error is descriptive."
        )
    if scores is not None:
        notes.append(CHALLENGE_NOTE)
        counted = sum(outcome.scores is not None for outcome in outcomes)
        if counted < len(case_ids):
            notes.append(
                f"Challenge scores are over the {counted} of {len(case_ids)} cases with a reference circumference."
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
