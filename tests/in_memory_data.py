"""A labelled data set in memory, and models whose answers are known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from acouslic_files import case_paths

from fetaliqa.datasets.acouslic_layout import read_circumferences
from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase
from fetaliqa.errors import NotFoundError
from fetaliqa.evaluation.frame_scorers import FrameAnswers, frame_scores
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import Threshold


class InMemoryData:
    """Cases by name; ``subjects`` where they are not the cases' own."""

    def __init__(self, cases: list[LabelledCase], *, name="memory", synthetic=False, anatomy: Anatomy = ABDOMEN):
        self.name = name
        self.anatomy = anatomy
        self.synthetic = synthetic
        self.cases = {case.case_id: case for case in cases}
        self.reads: list[str] = []

    def entries(self):
        return [CaseEntry(case.case_id, case.subject_id) for case in self.cases.values()]

    def read(self, case_id):
        self.reads.append(case_id)
        if case_id not in self.cases:
            raise NotFoundError(f"{case_id}: no such case")
        return self.cases[case_id]

    def fingerprint(self):
        digest = hashlib.sha256()
        for case in self.cases.values():
            digest.update(case.frames.tobytes() + case.masks.tobytes())
        return digest.hexdigest()


def sample_cases(folder: Path) -> InMemoryData:
    """The phantom cases shipped with the project."""
    import SimpleITK as sitk

    rows = {row.uuid: row for row in read_circumferences(folder)}
    cases = []
    for image_path, mask_path in case_paths(folder):
        image = sitk.ReadImage(str(image_path))
        frames = sitk.GetArrayFromImage(image)
        row = rows[image_path.stem]
        half = len(frames) // 2
        cases.append(
            LabelledCase(
                case_id=image_path.stem,
                subject_id=row.subject_id,
                frames=frames,
                masks=sitk.GetArrayFromImage(sitk.ReadImage(str(mask_path))),
                known=np.ones(len(frames), bool),
                spacing=(image.GetSpacing()[1], image.GetSpacing()[0]),
                ranges=((0, half), (half, len(frames))),
                circumferences_mm=row.ac_mm,
            )
        )
    return InMemoryData(cases, name="sample phantoms", synthetic=True)


SIDE = 64  # pixels of the small square frames below, and of the scorer's grid: nothing is resampled


def disc(radius: int, middle: tuple[int, int] = (32, 32)) -> np.ndarray:
    """uint8 [64, 64]."""
    return cv2.circle(np.zeros((SIDE, SIDE), np.uint8), middle, radius, 1, cv2.FILLED)


def a_case(
    name: str,
    grades: list[int],
    *,
    subject: str | None = None,
    circumferences: tuple[float | None, ...] = (None,),
    unknown: tuple[int, ...] = (),
    padding: tuple[int, ...] = (),
    mask: np.ndarray | None = None,
) -> LabelledCase:
    """A case of 64 x 64 noise frames of the given grades, of as many equal sweeps as there are circumferences."""
    count = len(grades)
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    frames = np.random.default_rng(seed).integers(60, 200, (count, SIDE, SIDE), dtype=np.uint8)
    frames[list(padding)] = 0
    masks = np.stack([grade * (disc(14) if mask is None else mask) for grade in grades]).astype(np.uint8)
    known = np.ones(count, bool)
    known[list(unknown)] = False
    length = count // len(circumferences)
    return LabelledCase(
        case_id=name,
        subject_id=subject or name,
        frames=frames,
        masks=masks,
        known=known,
        spacing=(1.0, 1.0),
        ranges=tuple((number * length, (number + 1) * length) for number in range(len(circumferences))),
        circumferences_mm=circumferences,
    )


def a_fake_card(task: str = "segmentation", anatomy: str = "abdomen") -> SimpleNamespace:
    training = SimpleNamespace(name="none", hash="none", description="none")
    return SimpleNamespace(
        name="knowing", version="1", task=task, anatomy=anatomy, threshold=Threshold(), training_data=training
    )


class KnowingScorer:
    """Answers with masks (or scores) it was given, by a frame's pixels; all else is empty (or scores 0.1)."""

    fingerprint = "f" * 64
    image_size = SIDE

    def __init__(self, task: str = "segmentation", anatomy: str = "abdomen"):
        self.card = a_fake_card(task, anatomy)
        self.answers: dict[bytes, np.ndarray | float] = {}
        self.calls = 0

    def learn(self, case: LabelledCase, frame: int, answer) -> None:
        self.answers[case.frames[frame].tobytes()] = answer

    def predict(self, frames):
        self.calls += len(frames)
        answers = [self.answers.get(frame.tobytes()) for frame in frames]
        if self.card.task == "classification":
            scores = np.array([0.1 if answer is None else answer for answer in answers], float)
            return FrameAnswers(scores, scores > 0.5)

        empty = np.zeros(frames.shape[1:], np.uint8)
        masks = np.stack([empty if answer is None else answer for answer in answers]) if answers else frames
        share = SquareGrid(frames.shape[1], frames.shape[2], self.image_size).share_to_square(masks != 0)
        pixels = torch.clip(share, 0.02, 0.97)
        scores = frame_scores(pixels, self.card.threshold.min_foreground_pixels(self.image_size))
        return FrameAnswers(scores, scores > 0.5, pixels)
