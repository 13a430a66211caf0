"""What the compact network learns from: frames of sweeps with a teacher's outlines, drawn for batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fetaliqa.errors import TrainingError
from fetaliqa.lab.distillation.teacher_outputs import HALF, Answers
from fetaliqa.lab.stills.still_augmentation import Settings, augmented
from fetaliqa.training.compact_training import Share

MOST_FRAMES = 8000  # in memory, 50 kB each and as much again for an outline
LEAST_OF_CASE = 12  # frames, however many cases there are
DOUBTED = 0.01  # quality of a negative frame on which the teacher has pixels above its threshold, or nearly
BESIDE = 5  # frames on either side of a positive one, of those that the teacher was asked about
# Of a batch: frames that show the anatomy to the teacher; others beside these or doubtful to it; the rest.
# In a sweep they are few, few and most.
SHARES = (7, 4, 5)
FITTED = 1500  # frames at most that the distance to the training data is fitted to
CHUNK = 16

# Sweeps of the same device and protocol as those that the model will see: they are changed little.
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


class Taught:
    """Frames of one kind.

    Args:
        squares: uint8 [224, 224] each.
        outlines: uint8 [224, 224] each, see ``Answers``; None: the frame shows nothing.
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


class Lessons:
    """Frames that a network learns from, of all training cases.

    Args:
        answers: a teacher's, one case after the other.
        cases: how many.
        seed: of the choice where there are more frames than fit into memory.

    Attributes:
        taught: frames that show the anatomy to the teacher; hard ones that do not; others.
        seen: frames that the teacher assessed.

    Raises:
        TrainingError: when the teacher sees the anatomy nowhere.
    """

    def __init__(self, answers: Iterable[Answers], cases: int, seed: int = 0) -> None:
        self.taught = tuple(Taught([], []) for _ in SHARES)
        self.seen = 0
        self._plain: list[np.ndarray] = []
        random = np.random.default_rng(seed)
        most = max(LEAST_OF_CASE, MOST_FRAMES // cases)
        for one in answers:
            self._add(one, most, random)
        if not len(self.taught[0]):
            raise TrainingError(
                f"the teacher sees the anatomy on none of {self.seen} training frames, "
                "so there is nothing to learn"
            )

    def __len__(self) -> int:
        return sum(map(len, self.taught))

    def _add(self, answers: Answers, most: int, random: np.random.Generator) -> None:
        self.seen += len(answers.squares)
        kinds = np.where(answers.positive, 0, np.where(hard(answers), 1, 2))
        left = most
        for kind, taught in enumerate(self.taught):
            frames = np.flatnonzero(kinds == kind)
            chosen = np.sort(random.permutation(frames)[: -(-left // (len(SHARES) - kind))])
            left -= len(chosen)
            taught.squares += [answers.squares[frame].copy() for frame in chosen]
            taught.outlines += [answers.outlines[frame].copy() if kind == 0 else None for frame in chosen]
            self._plain += taught.squares[len(taught.squares) - len(chosen) :]

    def shares(self) -> list[Share]:
        """Of a batch; what a kind without frames would have had goes to the others."""
        counts = list(SHARES)
        for kind in (1, 2):
            if not len(self.taught[kind]):
                counts[(3 - kind) if len(self.taught[3 - kind]) else 0] += counts[kind]
                counts[kind] = 0
        return [Share(taught, count) for taught, count in zip(self.taught, counts) if count]

    def plain(self) -> Iterator[np.ndarray]:
        """Batches uint8 [n, 224, 224] of frames as they are, case after case."""
        chosen = np.linspace(0, len(self._plain) - 1, min(FITTED, len(self._plain))).round().astype(int)
        for start in range(0, len(chosen), CHUNK):
            yield np.stack([self._plain[frame] for frame in chosen[start : start + CHUNK]])


def hard(answers: Answers) -> np.ndarray:
    """Which frames are beside one that shows the anatomy to the teacher, or doubtful to it; bool [N]."""
    candidates = answers.quality > DOUBTED
    for start, stop in answers.ranges:
        shown = np.flatnonzero(answers.positive[start:stop])
        beside = np.abs(np.arange(stop - start)[:, None] - shown) <= BESIDE
        candidates[start:stop] |= beside.any(axis=1)
    return candidates & ~answers.positive
