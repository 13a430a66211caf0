"""Training frames for distillation: frames of sweeps with the teacher's outlines, sampled for batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fetaliqa.errors import TrainingError
from fetaliqa.lab.distillation.teacher_outputs import HALF, Answers
from fetaliqa.lab.stills.still_augmentation import Settings, augmented
from fetaliqa.training.compact_training import Share

MOST_FRAMES = 8000  # in memory, 50 kB each and as much again for an outline
LEAST_OF_CASE = 12  # frames, however many cases there are
DOUBTFUL_QUALITY = 0.01  # of a negative frame on which the teacher nearly sees an outline
NEIGHBOURS = 5  # assessed frames on either side of a positive one that count as hard
# Of a batch: frames positive by the teacher; hard negatives (next to these, or doubtful); other negatives.
# In a sweep the first two are rare.
SHARES = (7, 4, 5)
REFERENCE_FRAMES = 1500  # most frames that the distance to the training data is fitted to
CHUNK = 16

# The sweeps are of the same device and protocol as those in use, so augmentation is mild.
SETTINGS = Settings(
    rotation_deg=10.0,
    scale=(0.85, 1.18),
    shift=0.06,
    p_flip=0.0,
    gamma=0.4,
    gain=(0.75, 1.33),
    contrast=(0.85, 1.15),
    p_speckle=0.1,
    p_noise=0.1,
    p_blur=0.1,
    p_low_resolution=0.1,
    p_bands=0.1,
    p_shadow=0.0,
    p_marks=0.0,
    p_view=0.0,
    p_cut=0.0,
)


class TeacherFrames:
    """Frames of one kind.

    Args:
        squares: uint8 [224, 224] each.
        outlines: uint8 [224, 224] each, see ``Answers``; None for a negative frame.
    """

    def __init__(self, squares: list[np.ndarray], outlines: list[np.ndarray | None]) -> None:
        self.squares, self.outlines = squares, outlines

    def __len__(self) -> int:
        return len(self.squares)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random sample of a frame: uint8 [224, 224], and the probability of its outline, float32."""
        outline = self.outlines[index]
        if outline is None:
            square, mask = augmented(self.squares[index], None, rng, SETTINGS)
            return square, mask.astype(np.float32)
        mask = (outline > HALF).astype(np.uint8)
        soft = outline.astype(np.float32) / 255
        return augmented(self.squares[index], mask, rng, SETTINGS, soft=soft)


class DistillationFrames:
    """Training frames of all cases, by kind.

    Args:
        answers: a teacher's, one case after the other.
        cases: how many.
        seed: of the choice where there are more frames than fit into memory.

    Attributes:
        by_kind: frames positive by the teacher; hard negatives; other negatives.
        seen: frames that the teacher assessed.

    Raises:
        TrainingError: when no frame is positive by the teacher.
    """

    def __init__(self, answers: Iterable[Answers], cases: int, seed: int = 0) -> None:
        self.by_kind = tuple(TeacherFrames([], []) for _ in SHARES)
        self.seen = 0
        self._plain: list[np.ndarray] = []
        random = np.random.default_rng(seed)
        most = max(LEAST_OF_CASE, MOST_FRAMES // cases)
        for one in answers:
            self._add(one, most, random)
        if not len(self.by_kind[0]):
            raise TrainingError(
                f"the teacher sees the anatomy on none of {self.seen} training frames, "
                "so there is nothing to learn"
            )

    def __len__(self) -> int:
        return sum(map(len, self.by_kind))

    def _add(self, answers: Answers, most: int, random: np.random.Generator) -> None:
        self.seen += len(answers.squares)
        kinds = np.where(answers.positive, 0, np.where(hard(answers), 1, 2))
        left = most
        for kind, target in enumerate(self.by_kind):
            frames = np.flatnonzero(kinds == kind)
            chosen = np.sort(random.permutation(frames)[: -(-left // (len(SHARES) - kind))])
            left -= len(chosen)
            target.squares += [answers.squares[frame].copy() for frame in chosen]
            target.outlines += [answers.outlines[frame].copy() if kind == 0 else None for frame in chosen]
            self._plain += target.squares[len(target.squares) - len(chosen) :]

    def shares(self) -> list[Share]:
        """Samples per batch of each kind; the share of an empty kind goes to the others."""
        counts = list(SHARES)
        for kind in (1, 2):
            if not len(self.by_kind[kind]):
                counts[(3 - kind) if len(self.by_kind[3 - kind]) else 0] += counts[kind]
                counts[kind] = 0
        return [Share(frames, count) for frames, count in zip(self.by_kind, counts) if count]

    def plain(self) -> Iterator[np.ndarray]:
        """Batches uint8 [n, 224, 224] of frames without augmentation, case after case."""
        chosen = np.linspace(0, len(self._plain) - 1, min(REFERENCE_FRAMES, len(self._plain))).round().astype(int)
        for start in range(0, len(chosen), CHUNK):
            yield np.stack([self._plain[frame] for frame in chosen[start : start + CHUNK]])


def hard(answers: Answers) -> np.ndarray:
    """Hard negatives: next to a frame positive by the teacher, or doubtful; bool [N]."""
    candidates = answers.quality > DOUBTFUL_QUALITY
    for start, stop in answers.ranges:
        shown = np.flatnonzero(answers.positive[start:stop])
        beside = np.abs(np.arange(stop - start)[:, None] - shown) <= NEIGHBOURS
        candidates[start:stop] |= beside.any(axis=1)
    return candidates & ~answers.positive
