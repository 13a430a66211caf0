"""The labels in a folder, case by case, for Python programs: reading of any data set, saving as versions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase, LabelledData
from fetaliqa.datasets.splits import FRACTIONS, Split, subject_split
from fetaliqa.errors import ArrayError, LabelError, NotFoundError
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.labels.frame_record import PLANES, FrameLabel, FrameRecord
from fetaliqa.labels.label_store import FOLDER, LabelStore
from fetaliqa.labels.label_version import LabelVersion, pixels_sha256
from fetaliqa.labels.studies import Studies
from fetaliqa.labels.studies_folder import FINAL, INDEX, find_images, find_studies
from fetaliqa.sweep import Ranges, Sweep, read_sweep, write_masks

_PLANE_OF = {grade: plane for plane, grade in PLANES.items()}


@dataclass(frozen=True, eq=False, repr=False)
class CaseLabels:
    """The labels of a case.

    Attributes
    ----------
    case_id, subject_id
        Names; the subject is the case's own name where nothing says otherwise.
    images
        uint8 [T, H, W], the frames.
    masks
        uint8 [T, H, W], outlines filled: 0 background, 1 anatomy on an optimal plane, 2 on a suboptimal one. All 0
        in frames that nobody has looked at.
    known
        bool [T], the frames that somebody has looked at; all others are neither positive nor negative.
    frames
        What was said of each frame, by number from 0; proposals of a model that nobody confirmed are among them,
        with state ``proposed``.
    spacing
        (row, column) pixel spacing in mm, or None.
    ranges
        Half-open frame range of each sweep.
    circumferences_mm
        Reference circumference of each sweep in mm; None where there is none.
    problems
        What contradicts itself, one sentence each.
    """

    case_id: str
    subject_id: str
    images: np.ndarray
    masks: np.ndarray
    known: np.ndarray
    frames: Mapping[int, FrameLabel]
    spacing: tuple[float, float] | None
    ranges: Ranges
    circumferences_mm: tuple[float | None, ...]
    problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        states = [label.state for label in self.frames.values()]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
        known = f"{int(self.known.sum())} of {len(self.images)} frames known"
        return f"CaseLabels({self.case_id!r}, {known}: {counts})"


class Labels:
    """The labelled cases of a folder, by name.

    Parameters
    ----------
    folder
        A studies folder that a server uses, ``images/`` beside ``labels/`` or ``masks/``, or a data set in the
        layout of ACOUSLIC-AI or HC18 (docs/data.md). Read once: make a new object for labels that arrive later.
    kind
        ``auto``, ``studies``, ``acouslic`` or ``hc18``.
    anatomy
        What is outlined in studies, ``abdomen`` (as None) or ``head``.

    Raises
    ------
    NotFoundError
        When there is no such folder, or no labelled data set in it.
    SweepError
        When its table or index cannot be used.
    OptionError
        When kind or anatomy are unknown, or the data set shows another anatomy.

    Examples
    --------
    >>> import fetaliqa
    >>> labels = fetaliqa.Labels("sample-data")
    >>> len(labels), labels.anatomy, labels.synthetic
    (3, 'abdomen', True)
    >>> case = labels["f0d494c1-9ae1-4d45-a20e-fcaf30c2e979"]
    >>> case.frames[19].state, case.frames[19].plane
    ('annotated', 'optimal')
    """

    def __init__(self, folder: str | os.PathLike[str], *, kind: str = "auto", anatomy: str | None = None) -> None:
        self.folder = Path(folder)
        self._use(open_labelled(self.folder, kind, anatomy))

    def _use(self, data: LabelledData) -> None:
        self._data = data
        self._subjects = {entry.case_id: entry.subject_id for entry in data.entries()}

    @property
    def anatomy(self) -> str:
        """What is outlined."""
        return self._data.anatomy.name

    @property
    def synthetic(self) -> bool:
        """Whether these are phantoms; every figure made on them must say so."""
        return self._data.synthetic

    @property
    def subjects(self) -> Mapping[str, str]:
        """The subject of each case."""
        return dict(self._subjects)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Why labels of studies are not among these cases, one sentence each."""
        return tuple(self._data.left_out()) if isinstance(self._data, Studies) else ()

    def __len__(self) -> int:
        return len(self._subjects)

    def __iter__(self) -> Iterator[str]:
        return iter(self._subjects)

    def __contains__(self, case_id: object) -> bool:
        return case_id in self._subjects

    def __repr__(self) -> str:
        kind = "synthetic, " if self.synthetic else ""
        return f"Labels({str(self.folder)!r}, {kind}{self.anatomy}, {len(self)} case(s))"

    def __getitem__(self, case_id: str) -> CaseLabels:
        """Read a case: its frames and its labels.

        Raises
        ------
        NotFoundError
            When there is no labelled case of this name, or a file of it is missing.
        SweepError
            When a file cannot be used, or the masks lie on another grid than the image.
        LabelError
            When the label was made for other pixels.
        """
        if case_id not in self:
            raise NotFoundError(f"{case_id}: no labelled case of this name in {self.folder}")
        if isinstance(self._data, Studies):
            parts = self._data.read_parts(case_id)
            case, states, problems = parts.case, parts.states, parts.problems
        else:
            case, states, problems = self._data.read(case_id), None, ()
        return CaseLabels(
            case_id=case.case_id,
            subject_id=case.subject_id,
            images=case.frames,
            masks=case.masks,
            known=case.known,
            frames=_said(case) if states is None else dict(states),
            spacing=case.spacing,
            ranges=case.ranges,
            circumferences_mm=case.circumferences_mm,
            problems=problems,
        )

    def split(self, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0) -> Split:
        """Cases to train, to validate and to test on, with all cases of a subject in one part.

        Parameters
        ----------
        fractions
            Share of each part; they add up to 1. The default is that of He, Wang and Yaqub (arXiv 2507.22802).
        seed
            Another seed, another split.

        Returns
        -------
        Split
            Names of cases in ``train``, ``validation`` and ``test``.
        """
        return subject_split(self._data.entries(), fractions, seed)

    def save(
        self,
        case_id: str,
        masks: np.ndarray,
        frames: Iterable[int],
        *,
        rater: str,
        planes: Mapping[int, str] | None = None,
    ) -> LabelVersion:
        """Save what somebody said of some frames, as the next version of the case's label; nothing is lost.

        The frames become ``annotated`` where they have a mask, else ``empty``; they count as truth from then on.
        All other frames of the label stay as they are. Only a folder that a server uses has versions.

        Parameters
        ----------
        case_id
            A case of the folder, labelled or not.
        masks
            uint8 [T, H, W], non-zero inside; those of other frames are not used.
        frames
            Numbers of the frames that the rater looked at, from 0.
        rater
            Who looked.
        planes
            ``optimal`` or ``suboptimal`` of frames with a mask; others are not graded.

        Returns
        -------
        LabelVersion
            The new version, with its number, mask file and frame record.

        Raises
        ------
        NotFoundError
            When there is no such case.
        ArrayError
            When ``masks`` has another type, or another shape than the case's frames.
        LabelError
            When the folder has no versions, a frame does not exist or is black, a plane is unknown, or the label
            cannot be changed.
        LabelConflict
            When somebody saves the label at the same time; nothing is saved then.
        """
        if not isinstance(self._data, Studies) or not (self.folder / INDEX).is_file():
            raise LabelError(
                f"{self.folder}: only a studies folder that a server uses ({INDEX}) has versions to save labels as"
            )
        images, store = find_images(self.folder), LabelStore(self.folder / FOLDER)
        if case_id not in images:
            raise NotFoundError(f"{case_id}: no case of this name in {self.folder}")
        sweep, base = read_sweep(images[case_id]), store.latest(case_id, FINAL)
        masks = np.asarray(masks)
        if masks.dtype != np.uint8 or masks.shape != sweep.shape:
            raise ArrayError(
                f"masks of type {masks.dtype} and shape {masks.shape}; expected uint8 {sweep.shape}, the shape of "
                f"the frames of {case_id}"
            )
        pixels = pixels_sha256(sweep.frames)
        if base == 0 and any(study.case_id == case_id for study in find_studies(self.folder)):
            raise LabelError(
                f"{case_id}: its label was saved before there were versions; start the server on the folder once"
            )
        stack, record = _present(store.current(case_id, FINAL), sweep, pixels)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for frame in frames:
            if not 0 <= frame < sweep.frame_count or sweep.padding[frame]:
                raise LabelError(f"{case_id}: frame {frame} does not exist or is black; nothing was saved")
            drawn = bool(masks[frame].any())
            plane = (planes or {}).get(frame) if drawn else None
            try:
                record[frame] = FrameLabel("annotated" if drawn else "empty", plane, rater, now)
            except ValueError as problem:
                raise LabelError(f"{case_id}: frame {frame}: {problem}; nothing was saved") from None
            stack[frame] = masks[frame] != 0
        with tempfile.TemporaryDirectory(prefix="fetaliqa-") as temporary:
            path = Path(temporary) / "mask.nii.gz" if stack.any() else None
            if path is not None:
                write_masks(path, stack, sweep)
            saved = store.save(
                case_id, FINAL, path, FrameRecord(record), {"user": rater}, image=pixels, based_on=base
            )
        self._use(Studies(self.folder, self.anatomy))
        return saved


def _said(case: LabelledCase) -> dict[int, FrameLabel]:
    """Of a data set whose masks are all that is said: what they say of the known frames."""
    return {
        int(frame): FrameLabel("annotated" if grade else "empty", _PLANE_OF.get(int(grade)))
        for frame, grade in enumerate(case.grades())
        if case.known[frame]
    }


def _present(current: LabelVersion | None, sweep: Sweep, pixels: str) -> tuple[np.ndarray, dict[int, FrameLabel]]:
    """Masks and frame record of the label that is there; empty ones without.

    Raises:
        LabelError: when it cannot be added to.
    """
    if current is None:
        return np.zeros(sweep.shape, np.uint8), {}
    if current.image not in (None, pixels):
        raise LabelError(f"{current.case}: its label was made for other pixels; nothing was saved")
    if current.record is None:
        raise LabelError(f"{current.case}: its label has no frame record to add to; nothing was saved")
    return current.masks(sweep), dict(current.record.frames)
