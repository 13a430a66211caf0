"""From a teacher and cases to a student: answers, training, limits, and a folder that holds the result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from fetaliqa.distillation.answers import Answers, AnswerStore
from fetaliqa.distillation.learn import LearnSettings, learn, small
from fetaliqa.distillation.limits import KnownSweep, choose_limits
from fetaliqa.distillation.progress import Report, stage
from fetaliqa.distillation.screening import choose_screen_floor
from fetaliqa.distillation.sources import PhantomSource, Source
from fetaliqa.distillation.split import parted
from fetaliqa.inference.predictor import Predictor
from fetaliqa.memory import keep_freed_memory
from fetaliqa.models import TrainingData
from fetaliqa.student.card import StudentCard, Teacher
from fetaliqa.student.folder import check_free, save_student
from fetaliqa.student.network import StudentNet, as_images

STEP = 3  # training cases: every third frame; neighbours teach nearly the same, and the teacher is what takes time
FIRST_SEED = 80_000  # of the phantoms; those of the demo model, the experiments and the benchmarks are others
PHANTOMS = 80
INTENDED_USE = (
    "Screening frames for the model that it learnt from, when its best frame or its outlines are asked for fast. "
    "Research use; not for any clinical use."
)
PHANTOM_LIMITS = "Trained on synthetic phantom sweeps only; what it does on ultrasound of patients is unknown."
OTHER_LIMITS = (
    "How often it finds what the model finds was measured on sweeps like those it learnt from, on no others."
)


def distil(
    teacher: Predictor,
    sources: Sequence[Source],
    folder: Path,
    kept: Path,
    report: Report,
    settings: LearnSettings | None = None,
) -> StudentCard:
    """Make a student.

    Args:
        teacher: the large model.
        sources: the cases; a quarter of them is held out from training.
        folder: of the student, to make.
        kept: folder of the teacher's answers, so that a second run need not ask again.
        report: told how far each stage is.
        settings: of the training.

    Raises:
        BundleError: when the folder exists.
        OptionError: when there are too few cases.
        TrainingError: when the student is not worth having; nothing is written then.
        FetalIQAError: when a case cannot be read.
    """
    keep_freed_memory()
    settings = settings or LearnSettings()
    check_free(folder)
    training, held_out = parted(sources)
    store = AnswerStore(kept, teacher)
    reference = list(store.each(held_out, 1, stage(report, "teacher on held-out cases")))
    lessons = list(store.each(training, STEP, stage(report, "teacher on training cases")))
    net = learn(lessons, settings, stage(report, "student learns"))
    known = [known_sweeps(net, one) for one in reference]
    limits, told = choose_limits([sweep for case in known for sweep in case])
    floor, screening = choose_screen_floor(known)
    phantoms = all(isinstance(source, PhantomSource) for source in sources)
    frames = sum(len(one.quality) for one in lessons)
    card = StudentCard(
        teacher=Teacher(teacher.card.name, teacher.card.version, teacher.fingerprint),
        training_data=TrainingData(
            name="FetalIQA phantom sweeps" if phantoms else "sweep files",
            hash=_hash(lessons),
            description=(
                f"{frames} frames (every {STEP}rd) of {len(training)} cases, {training[0].name} and others, "
                f"as the teacher assesses them; {asdict(settings)}"
            ),
        ),
        held_out={"cases": len(held_out), **told, "screening": screening},
        limits=replace(limits, screen_floor=floor),
        licence=teacher.card.licence,
        intended_use=INTENDED_USE,
        limitations=PHANTOM_LIMITS if phantoms else OTHER_LIMITS,
    )
    return save_student(net, card, folder)


@torch.inference_mode()
def known_sweeps(net: StudentNet, answers: Answers) -> list[KnownSweep]:
    """The sweeps of a case, with the student's guesses beside the teacher's answers."""
    guessed = torch.sigmoid(net.eval()(as_images(torch.from_numpy(small(answers.squares))))).double().numpy()
    return [
        KnownSweep(answers.quality[start:stop].astype(float), answers.positive[start:stop], guessed[start:stop])
        for start, stop in answers.ranges.tolist()
    ]


def _hash(lessons: Sequence[Answers]) -> str:
    digest = hashlib.sha256()
    for one in lessons:
        digest.update(np.ascontiguousarray(one.squares).data)
        digest.update(np.ascontiguousarray(one.quality).data)
    return digest.hexdigest()
