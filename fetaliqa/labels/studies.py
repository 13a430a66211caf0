"""Labelled studies as a data set: MONAI Label's studies folder, or plain folders of images and masks.

::

    datastore_v2.json, images, labels/final/ID.ext       MONAI Label; the frame record is in the label's info
    images/NAME.ext  labels/NAME.ext (or masks/)         plain; the frame record is labels/NAME.frames.json
    subjects.csv                                         optional in both: case_id, subject_id

**An unreviewed frame is never ground truth.** With a frame record, known frames are those with state
``annotated`` or ``empty``; ``proposed`` frames never are. Without a record no frame is known in MONAI Label's
folder, where a mask may be an unchanged proposal; in a plain folder the frames with a mask are known, since an
empty mask may mean that the frame was not reviewed. A label with requested changes has no known frame until it is
saved again. Where record and mask contradict each other the frame is unknown, and ``problems`` says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fetaliqa.datasets.acouslic_folder import read_manifest, says_synthetic
from fetaliqa.datasets.data_fingerprint import files_signature
from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase, fill_outlines
from fetaliqa.errors import FetalIQAError, LabelDamaged, LabelError, NotFoundError, SweepError
from fetaliqa.labels import FrameLabel, parse_record
from fetaliqa.labels.label_version import pixels_sha256
from fetaliqa.labels.studies_folder import Study, find_studies
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.sweep import Sweep, read_masks, read_sweep

HIGHEST_LABEL = 2  # 1 optimal plane, 2 suboptimal

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class StudyParts:
    """A labelled study: the frames that may train, and everything else.

    Attributes:
        case: what may train; see ``LabelledCase.known``.
        sweep: the image as it was read.
        drawn: uint8 [T, H, W], the mask file's own values, unconfirmed frames included.
        states: frame labels by frame; None without a record.
        problems: contradictions, one sentence each.
    """

    case: LabelledCase
    sweep: Sweep
    drawn: np.ndarray
    states: Mapping[int, FrameLabel] | None
    problems: tuple[str, ...]


@dataclass
class Survey:
    """Counts and problems of a folder of studies.

    Attributes:
        cases: that could be read.
        frames: slots of them; known optimal, suboptimal and empty ones.
        problems: one sentence each.
    """

    cases: int = 0
    frames: dict[str, int] = field(default_factory=lambda: {"slots": 0, "optimal": 0, "suboptimal": 0, "empty": 0})
    problems: list[str] = field(default_factory=list)

    def add(self, case: LabelledCase) -> None:
        """Count a case in."""
        grades = case.grades()[case.known]
        self.cases += 1
        self.frames["slots"] += len(case.frames)
        for name, grade in (("optimal", 1), ("suboptimal", 2), ("empty", 0)):
            self.frames[name] += int((grades == grade).sum())


class Studies:
    """Studies with a person's labels.

    There is no table of reference circumferences, so ``circumferences_mm`` of a case is all None, and
    ``measured()`` all False: a recipe that keeps only sweeps with a reference AC, as the paper's does, keeps
    nothing here.

    Args:
        folder: see the module's text; read once, so later labels need a new object.
        anatomy: name of what is outlined.

    Raises:
        NotFoundError: when it is no studies folder.
        SweepError: when its index, manifest or table of subjects cannot be used.
        OptionError: when no such anatomy is known.
    """

    name = "studies"

    def __init__(self, folder: Path, anatomy: str = "abdomen") -> None:
        self.folder = Path(folder)
        self.anatomy = anatomy_named(anatomy)
        self._studies = {study.case_id: study for study in find_studies(self.folder)}
        self.synthetic = says_synthetic(read_manifest(self.folder), self._studies)

    def of_anatomy(self, anatomy: str) -> Studies:
        """The same studies, not read again, with another anatomy outlined.

        Raises:
            OptionError: when no such anatomy is known.
        """
        same = copy(self)
        same.anatomy = anatomy_named(anatomy)
        return same

    def entries(self) -> list[CaseEntry]:
        """Cases with a usable label, by name; without those of :meth:`left_out` or with an empty record."""
        return [CaseEntry(s.case_id, s.subject_id) for s in self._studies.values() if _usable(s)]

    def left_out(self) -> list[str]:
        """Why labels are not among :meth:`entries`, one sentence each; reads no pixels."""
        return [reason for study in self._studies.values() if (reason := _why_not(study))]

    def read(self, case_id: str) -> LabelledCase:
        """A case. Its masks carry the plane of the record: 1 optimal, 2 suboptimal; else their own value.

        Raises:
            NotFoundError: when there is no such case or a file of it is missing.
            SweepError: when a file or the record cannot be used, or a mask has other values than 0, 1 and 2 in a
                frame whose plane the record does not give.
        """
        return self.read_parts(case_id).case

    def read_parts(self, case_id: str) -> StudyParts:
        """A case with its record and its unconfirmed frames. Raises as ``read`` does."""
        return self._read(self._study(case_id))

    def problems(self, progress: Progress | None = None) -> list[str]:
        """Missing files and contradictions, one sentence each; reads every case."""
        return self.survey(progress).problems

    def survey(self, progress: Progress | None = None) -> Survey:
        """Read every case, and count its frames.

        Args:
            progress: called with cases done and cases in all.
        """
        survey = Survey()
        for done, study in enumerate(self._studies.values(), start=1):
            try:
                parts = self._read(study)
            except FetalIQAError as problem:
                text = str(problem)
                survey.problems.append(text if text.startswith(study.case_id) else f"{study.case_id}: {text}")
            else:
                survey.add(parts.case)
                survey.problems += parts.problems
            if progress is not None:
                progress(done, len(self._studies))
        return survey

    def fingerprint(self) -> str:
        """SHA-256 (hex) over cases, subjects, state and plane of each frame, and the files of ``entries``.

        Every byte of them counts, see ``files_signature``. Who labelled, and when, does not.
        """
        return self._fingerprint([entry.case_id for entry in self.entries()])

    def _fingerprint(self, case_ids: Sequence[str]) -> str:
        digest = hashlib.sha256(self.anatomy.name.encode())
        paths: list[Path] = []
        for study in (self._study(case_id) for case_id in case_ids):
            states = sorted((frame, s.state, s.label) for frame, s in (_states(study) or {}).items())
            digest.update(json.dumps([study.case_id, study.subject_id, study.record is not None, states]).encode())
            paths += [path for path in (study.image, study.mask) if path is not None]
        digest.update(files_signature(self.folder, paths).encode())
        return digest.hexdigest()

    def confirmed(self, case_id: str) -> tuple[int, int]:
        """How many frames of a case are annotated, and how many empty; proposals are neither.

        From its record, without reading pixels; only a case without a record is read.

        Raises:
            NotFoundError, SweepError, LabelError: as :meth:`read`.
        """
        states = _states(self._study(case_id))
        if states is None:
            case = self.read(case_id)
            outlined = int((case.grades()[case.known] > 0).sum())
            return outlined, int(case.known.sum()) - outlined
        frame_states = [state.state for state in states.values()]
        return frame_states.count("annotated"), frame_states.count("empty")

    def case_fingerprint(self, case_id: str) -> str:
        """As :meth:`fingerprint`, of one case."""
        return self._fingerprint([case_id])

    def _study(self, case_id: str) -> Study:
        try:
            return self._studies[case_id]
        except KeyError:
            raise NotFoundError(f"{case_id}: no labelled case of this name in {self.folder}") from None

    def _read(self, study: Study) -> StudyParts:
        if study.problem is not None:
            raise LabelDamaged(study.problem)
        states = _states(study)
        sweep = read_sweep(study.image)
        if study.pixels is not None and study.pixels != pixels_sha256(sweep.frames):
            raise LabelError(
                f"{study.case_id}: its label was made for other pixels than {study.image.name} has; label it again"
            )
        if study.mask is not None:
            # for a label version, the hash of the pixels was compared already
            drawn = read_masks(study.mask, sweep, by_size=study.pixels is not None)
        elif any(state.state == "annotated" for state in (states or {}).values()):
            raise NotFoundError(f"{study.case_id}: its record has annotated frames, but there is no mask file")
        else:
            drawn = np.zeros(sweep.shape, np.uint8)
        withheld = _withheld(study)
        if states is None:
            outlined = np.flatnonzero(drawn.reshape(len(drawn), -1).any(axis=1))
            labels = {int(frame): FrameLabel("annotated") for frame in outlined}
        else:
            labels = dict(states)
        masks, known_frames, problems = _reconciled(study.case_id, sweep, drawn, {} if withheld else labels)
        problems += [withheld] if withheld else []
        case = LabelledCase(
            case_id=study.case_id,
            subject_id=study.subject_id,
            frames=sweep.frames,
            masks=fill_outlines(masks),
            known=known_frames,
            spacing=sweep.spacing,
            ranges=sweep.ranges,
            circumferences_mm=(None,) * len(sweep.ranges),
        )
        return StudyParts(case, sweep, drawn, states, tuple(problems))


def _states(study: Study) -> Mapping[int, FrameLabel] | None:
    return None if study.record is None else parse_record(study.record, study.case_id).frames


def _withheld(study: Study) -> str | None:
    """Why a readable label may not train; None when it may."""
    if study.withheld is not None:
        return f"{study.case_id}: {study.withheld}; save it again to train on it"
    if study.record is None and not study.outlines_count:
        return (
            f"{study.case_id}: its label has no frame record, so the reviewed frames are not known and "
            "none of them trains; save it with a record, as FetalIQA's Slicer module does"
        )
    return None


def _why_not(study: Study) -> str | None:
    """Why a label is not usable; empty where nothing is wrong but nothing is labelled, None when usable."""
    if study.problem is not None:
        return study.problem
    if not study.image.exists():
        return f"{study.case_id}: its image {study.image.name} is missing"
    if study.mask is not None and not study.mask.is_file():
        return f"{study.case_id}: its mask {study.mask.name} is missing"
    if withheld := _withheld(study):
        return withheld
    try:
        states = _states(study)
    except LabelError as problem:
        text = str(problem)
        return text if study.case_id in text else f"{study.case_id}: {text}"
    if states is None:
        return None if study.mask is not None else ""
    frame_states = {state.state for state in states.values()}
    if "annotated" in frame_states and study.mask is None:
        return f"{study.case_id}: its record has annotated frames, but there is no mask file"
    return None if frame_states & {"annotated", "empty"} else ""


def _usable(study: Study) -> bool:
    return _why_not(study) is None


def _reconciled(
    case_id: str, sweep: Sweep, masks: np.ndarray, states: Mapping[int, FrameLabel]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Masks of the known frames only, which frames are known (bool [T]), and contradictions."""
    drawn = masks.reshape(len(masks), -1).any(axis=1)
    beyond = [frame for frame in states if frame >= len(masks)]
    if beyond:
        raise SweepError(f"{case_id}: its record names frame {beyond[0]}; its frames are 0 to {len(masks) - 1}")
    result, known, problems = np.zeros_like(masks), np.zeros(len(masks), bool), []
    for frame, state in sorted(states.items()):
        if not state.known:
            continue
        if sweep.padding[frame]:
            problems.append(f"{case_id}: frame {frame} is black, but was called {state.state}")
        elif state.contradicts(bool(drawn[frame])):
            but = "has a mask" if state.state == "empty" else "its mask is empty"
            problems.append(f"{case_id}: frame {frame} was called {state.state}, but {but}")
        else:
            known[frame] = True
            result[frame] = _graded(case_id, frame, masks[frame], state.label)
    return result, known, problems


def _graded(case_id: str, frame: int, mask: np.ndarray, label: int | None) -> np.ndarray:
    if label is not None:
        return np.where(mask > 0, np.uint8(label), np.uint8(0))
    if mask.max() > HIGHEST_LABEL:
        raise SweepError(
            f"{case_id}: the mask of frame {frame} holds the value {mask.max()}; use 1 (optimal) and 2 "
            "(suboptimal), or give the plane in the frame record"
        )
    return mask
