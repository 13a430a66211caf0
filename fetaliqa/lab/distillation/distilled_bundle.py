"""Distillation from start to end: teacher and sweeps in, a bundle of the compact architecture out."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fetaliqa.allocator import keep_freed_memory
from fetaliqa.errors import BundleError, TrainingError
from fetaliqa.inference.frame_guess import promise
from fetaliqa.inference.predictor import Predictor
from fetaliqa.inference.student import SCREENING, TEACHER, Screening, Teacher
from fetaliqa.lab.distillation.distillation_cases import PhantomSource, Source
from fetaliqa.lab.distillation.distillation_frames import SHARES, DistillationFrames
from fetaliqa.lab.distillation.distillation_split import split_cases
from fetaliqa.lab.distillation.screening_replay import choose_screen_floor
from fetaliqa.lab.distillation.search_limits import KnownSweep, choose_limits
from fetaliqa.lab.distillation.student_start import ARCHITECTURE, IMAGENET, starting_model
from fetaliqa.lab.distillation.teacher_agreement import agreement
from fetaliqa.lab.distillation.teacher_outputs import Answers, AnswerStore, answers_on
from fetaliqa.model import (
    BaseReference,
    Bundle,
    BundleCard,
    Threshold,
    TrainingData,
    load_architecture,
    save_bundle,
)
from fetaliqa.model.feature_reference import fit_reference
from fetaliqa.model.json_records import to_json
from fetaliqa.model.tensor_hashes import short
from fetaliqa.training.compact_training import CompactRecipe, train_compact
from fetaliqa.training.memory_watch import Report

STEP = 3  # of training cases every third frame: neighbours are similar, and the teacher takes most of the time
STEPS = 500  # of training; about 20 minutes on two cores
RATE, IMAGENET_RATE = 8e-4, 1.5e-3  # of learning, from a bundle and from ImageNet's weights
INTENDED_USE = (
    "Research and development: outlines like those of its teacher, on a laptop. Not for any clinical use."
)
PHANTOM_LIMITS = "Distilled on synthetic phantom sweeps only; what it does on ultrasound of patients is unknown."
OTHER_LIMITS = (
    "It outlines what its teacher does, mistakes included, on sweeps like those that it was distilled on; "
    "the figures compare it with the teacher, not with an expert."
)


@dataclass(frozen=True)
class DistilSettings:
    """How a bundle is distilled.

    Attributes:
        steps: of training, batches of 16 frames.
        start: see ``starting_model``.
        name, version: of the bundle; None: the teacher's, the name with ``-compact``.
        seed: of samples and of new layers.
        must_screen: raise an error when the student cannot screen frames for the teacher.
    """

    steps: int = STEPS
    start: str | None = None
    name: str | None = None
    version: str | None = None
    seed: int = 0
    must_screen: bool = False


def distil(
    teacher: Predictor,
    sources: Sequence[Source],
    folder: Path,
    cache: Path,
    report: Report,
    settings: DistilSettings | None = None,
) -> Bundle:
    """Make a bundle.

    Args:
        teacher: a segmentation model.
        sources: the cases; a quarter of them is held out from training.
        folder: of the bundle, to make.
        cache: folder of cached teacher outputs.
        report: called with stage, done, in all.
        settings: of the training.

    Raises:
        BundleError: when the folder exists.
        OptionError: when there are too few cases, or the start is no compact bundle.
        TrainingError: when no frame is positive by the teacher, training diverges, or the student cannot screen
            and ``must_screen`` is set; nothing is written then.
        FetalIQAError: when a case cannot be read.
    """
    keep_freed_memory()
    settings = settings or DistilSettings()
    check_free(folder)
    training, held_out = split_cases(sources)
    model, start = starting_model(settings.start, teacher.card.anatomy, settings.seed)
    store = AnswerStore(cache, teacher)
    frames = DistillationFrames(
        store.each(training, STEP, partial(report, "teacher on training cases")), len(training), settings.seed
    )
    for _ in store.each(held_out, 1, partial(report, "teacher on held-out cases")):
        pass  # cached before training, so that a later failure does not cost this pass
    recipe = CompactRecipe(
        settings.steps,
        learning_rate=IMAGENET_RATE if start is None else RATE,
        average=0.99,
        plane_weight=0.7,
        empty_weight=0.1,
        seed=settings.seed,
    )
    learning = partial(report, "training")
    train_compact(model, frames.shares(), recipe, lambda step: learning(step.number, step.steps))
    fit_reference(model, frames.plain())
    card = _card(teacher, sources, training, frames, start, recipe, settings)
    with tempfile.TemporaryDirectory() as temporary:
        stored = save_bundle(model, card, Path(temporary) / "bundle")
        agreement_figures, screening = _held_out(stored, store, held_out, partial(report, "held-out cases"))
    if settings.must_screen and screening.limits is None:
        raise TrainingError(screening.reason)
    metrics = {**card.metrics, "held_out": agreement_figures, SCREENING: to_json(screening)}
    return save_bundle(model, replace(card, metrics=metrics), folder)


def check_free(folder: Path) -> None:
    """Check that a bundle can be written as ``folder``.

    Raises:
        BundleError: when it exists.
    """
    if folder.exists():
        raise BundleError(
            f"{folder} exists already; a bundle is never overwritten, move it away or choose another"
        )


def _held_out(
    bundle: Bundle, store: AnswerStore, sources: Sequence[Source], progress: Callable[[int, int], None]
) -> tuple[dict[str, object], Screening]:
    """Evaluate the stored bundle on held-out cases.

    The frames are predicted twice: assessment gives outlines, and ``promise`` needs the frame head's logit, which
    predictions do not carry.

    Returns:
        Agreement with the teacher, and how well it screens frames for it.
    """
    distilled = Predictor(bundle, "cpu")
    sweeps: list[list[KnownSweep]] = []

    def cases() -> Iterator[tuple[Answers, Answers]]:
        for source, answers in zip(sources, store.each(sources, 1, progress)):
            own = answers_on(source.sweep(1), distilled)
            sweeps.append(known_sweeps(answers, promise(distilled, torch.from_numpy(answers.squares))))
            yield answers, own

    return agreement(cases()), screening_on(sweeps)


def known_sweeps(teacher: Answers, guessed: np.ndarray) -> list[KnownSweep]:
    """The sweeps of a case, with the student's guesses, float [N], beside the teacher's quality."""
    return [
        KnownSweep(
            teacher.quality[start:stop].astype(float),
            teacher.positive[start:stop],
            guessed[start:stop],
        )
        for start, stop in teacher.ranges.tolist()
    ]


def screening_on(cases: Sequence[Sequence[KnownSweep]]) -> Screening:
    """Limits for a search and for screening, and their figures on the sweeps of cases."""
    try:
        limits, search = choose_limits([sweep for case in cases for sweep in case])
    except TrainingError as problem:
        return Screening(None, str(problem), {}, {})
    floor, outlines = choose_screen_floor(cases)
    return Screening(replace(limits, screen_floor=floor), "", search, outlines)


def _card(
    teacher: Predictor,
    sources: Sequence[Source],
    training: Sequence[Source],
    frames: DistillationFrames,
    start: BundleCard | None,
    recipe: CompactRecipe,
    settings: DistilSettings,
) -> BundleCard:
    card = teacher.card
    phantoms = all(isinstance(source, PhantomSource) for source in sources)
    origin = f"{IMAGENET} weights" if start is None else f"{start.name} {start.version}"
    kinds = " / ".join(str(len(kind)) for kind in frames.by_kind)
    data = (
        f"{len(frames)} of {frames.seen} frames (every {STEP}rd) of {len(training)} cases, {training[0].name} "
        f"and others, as outlined by {card.name} {card.version} ({short(teacher.fingerprint)}), whose "
        f"probabilities are the targets: {kinds} positive, hard negative and other frames, "
        f"{SHARES} of each in a batch; started from {origin}; {asdict(recipe)}"
    )
    licence = f"{card.licence} (that of its teacher)"
    if start is not None:
        licence += f"; started from {start.name}: {start.licence}"
    return BundleCard(
        name=settings.name or f"{card.name}-compact",
        version=settings.version or card.version,
        task="segmentation",
        architecture=load_architecture(ARCHITECTURE) if start is None else start.architecture,
        lora=None,
        base=BaseReference("included", "0" * 64),
        anatomy=card.anatomy,
        training_data=TrainingData("FetalIQA phantom sweeps" if phantoms else "sweep files", _hash(frames), data),
        licence=licence,
        intended_use=INTENDED_USE,
        limitations=PHANTOM_LIMITS if phantoms else OTHER_LIMITS,
        metrics={TEACHER: to_json(Teacher(card.name, card.version, teacher.fingerprint))},
        threshold=Threshold(min_foreground_fraction=card.threshold.min_foreground_fraction),
    )


def _hash(frames: DistillationFrames) -> str:
    digest = hashlib.sha256()
    for kind in frames.by_kind:
        for square, outline in zip(kind.squares, kind.outlines):
            digest.update(np.ascontiguousarray(square).data)
            if outline is not None:
                digest.update(np.ascontiguousarray(outline).data)
    return digest.hexdigest()
