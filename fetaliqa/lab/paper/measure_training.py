"""The trained quality measures of a study: they learn from its training part and are kept in its work folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.errors import OptionError, TrainingError, WeightsError
from fetaliqa.lab.image_quality import trainable_measures
from fetaliqa.lab.image_quality.frame_sample import FrameSample, sample_frames
from fetaliqa.lab.image_quality.measure_list import FrameFunction
from fetaliqa.lab.image_quality.trained_measures import EFFORTS, train_measure
from fetaliqa.lab.paper.paper_study import Study, without_folders

VERSION = 1  # of training
PER_CASE = 20  # annotated frames of a case, and as many others
SEED = 0


@dataclass
class MeasureTraining:
    """Trains each measure when it is asked for, or reads it from ``WORK/measures``.

    Attributes:
        study: data, split and work folder.
        reasons: why a measure could not be trained, by name; filled by ``scorers``.
    """

    study: Study
    reasons: dict[str, str] = field(default_factory=dict)

    def scorers(self) -> dict[str, FrameFunction]:
        """What scores a frame, for each measure that was or could be trained."""
        found = {}
        for name in trainable_measures():
            try:
                found[name] = self.scorer(name)
            except (OptionError, TrainingError, WeightsError) as problem:
                self.reasons[name] = without_folders(str(problem))
        return found

    def scorer(self, name: str) -> FrameFunction:
        """One measure.

        Raises:
            OptionError, TrainingError, WeightsError: when it cannot be trained, or may not (``only_done``).
        """
        return train_measure(
            name,
            lambda: self.sample,
            self.file(name),
            self.study.report,
            seed=SEED,
            effort=EFFORTS.get(name),
            train=not self.study.only_done,
        )

    def file(self, name: str) -> Path:
        """Where a measure is kept."""
        return self.study.work / "measures" / f"{name}-{self.key(name)}.safetensors"

    def key(self, name: str) -> str:
        """Hash of all that the trained measure depends on."""
        effort = EFFORTS.get(name)
        made_of: list[object] = [VERSION, name, SEED, None if effort is None else asdict(effort)]
        if name != "fuiqa":  # which learns from phantoms of its own
            made_of += [self.study.data.fingerprint(), list(self.study.split.train), PER_CASE]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]

    @cached_property
    def sample(self) -> FrameSample:
        """Frames of the training part.

        Raises:
            OptionError: when they are all of one class.
        """
        sample = sample_frames(self._cases(), PER_CASE, SEED)
        if not (0 < (sample.grades > 0).sum() < len(sample)):
            raise OptionError("the training frames are all of one class; a measure learns from both")
        return sample

    def _cases(self) -> Iterator[LabelledCase]:
        ids = self.study.split.train
        for number, case_id in enumerate(ids):
            yield self.study.data.read(case_id)
            self.study.report("classic: read training cases", number + 1, len(ids))
