"""The source of an export: labelled data of any kind, or sweeps scored by a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.case_names import is_case_name
from fetaliqa.datasets.acouslic import Acouslic
from fetaliqa.datasets.acouslic_layout import IMAGES
from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase, LabelledData, fill_outlines
from fetaliqa.errors import FetalIQAError, NotFoundError, OptionError
from fetaliqa.export.export_case import ExportCase, FrameEntry
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.labels.label_store import FOLDER
from fetaliqa.labels.label_version import pixels_sha256
from fetaliqa.labels.studies import Studies
from fetaliqa.labels.studies_folder import FINAL, find_images, find_studies, read_subjects, subject_of
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy, anatomy_named
from fetaliqa.sweep import Grid, Ranges, Sweep, read_sweep
from fetaliqa.sweep.case_paths import by_case, expand_cases
from fetaliqa.sweep.sweep_reader import open_image

if TYPE_CHECKING:
    from fetaliqa.registry import AssessmentService

ACOUSLIC_LICENCE = "CC BY-NC-SA 4.0 (ACOUSLIC-AI, Zenodo 10.5281/zenodo.12697994)"
PLANE_NAMES = {1: "optimal", 2: "suboptimal"}


class ExportSource:
    """Cases of a folder.

    Args:
        folder: labelled data (studies, ACOUSLIC-AI, HC18), or, with a model, any folder of sweeps.
        kind: of the data set, see ``open_labelled``.
        anatomy: name of what is outlined; needed for studies of anything but the abdomen.
        service: the model that scores frames and proposes outlines; None: frames have no score.
        proposals: whether unreviewed frames are included with the model's outline.
        raters: whether the labels of single raters are read too, for the comparison of raters.
        alive: called regularly while a model runs; an exception from it stops the reading.

    Raises:
        NotFoundError: when there is no such folder, or no known data set in it.
        OptionError, SweepError: see ``open_labelled``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kind: str = "auto",
        anatomy: str | None = None,
        service: AssessmentService | None = None,
        proposals: bool = False,
        raters: bool = False,
        alive: Callable[[], None] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.service = service
        self._proposals = proposals and service is not None
        self._raters = raters
        self._alive = alive or (lambda: None)
        self._data: LabelledData | None = self._labelled(kind, anatomy)
        self.anatomy: Anatomy = self._anatomy(anatomy)
        self._images = self._unlabelled()
        self._labelled_entries = [] if self._data is None else self._data.entries()
        if service is not None and service.model_info()["anatomy"] != self.anatomy.name:
            raise OptionError(
                f"the model outlines the {service.model_info()['anatomy']}, and {self.folder.name} shows the "
                f"{self.anatomy.name}; name a model of the {self.anatomy.name}"
            )

    @property
    def name(self) -> str:
        """Kind of the data."""
        return "sweeps" if self._data is None else self._data.name

    @property
    def synthetic(self) -> bool:
        """Whether these are phantoms."""
        return self._data is not None and self._data.synthetic

    @property
    def licence(self) -> str | None:
        """Licence of the data, where it is known."""
        return ACOUSLIC_LICENCE if isinstance(self._data, Acouslic) and not self.synthetic else None

    def entries(self) -> list[CaseEntry]:
        """All cases, by name."""
        by_case = {entry.case_id: entry for entry in self._labelled_entries}
        subjects = read_subjects(self.folder) if isinstance(self._data, Studies) else {}
        for case_id in self._images:
            by_case.setdefault(case_id, CaseEntry(case_id, subject_of(case_id, subjects)))
        return [by_case[case_id] for case_id in sorted(by_case)]

    def unusable(self) -> list[str]:
        """Cases that the data names but whose files are missing or damaged, by name."""
        if isinstance(self._data, Studies):
            named = {study.case_id for study in find_studies(self.folder)}
        elif isinstance(self._data, Acouslic):
            named = {entry.case_id for entry in self._data.table_entries()}
        else:
            return []
        return sorted(named - {entry.case_id for entry in self._labelled_entries})

    def read(self, entry: CaseEntry) -> ExportCase:
        """A case.

        Raises:
            FetalIQAError: when a file of it cannot be used.
        """
        if entry in self._labelled_entries:
            case, image = self._read_labelled(entry)
        else:
            image = self._images[entry.case_id]
            case = _bare(entry, read_sweep(image), self.anatomy)
        return case if self.service is None or image is None else self._scored(case, image)

    # -- parts --------------------------------------------------------------------------------------

    def _labelled(self, kind: str, anatomy: str | None) -> LabelledData | None:
        try:
            return open_labelled(self.folder, kind, anatomy)
        except NotFoundError as problem:
            if self.service is None or kind != "auto" or not self.folder.is_dir():
                raise
            try:
                expand_cases(self.folder)
            except FetalIQAError:
                raise problem from None
            if not self._proposals:
                raise OptionError(
                    f"{self.folder}: sweeps without labels; add the state `proposed` to take the model's outlines"
                ) from None
            return None

    def _anatomy(self, name: str | None) -> Anatomy:
        if self._data is not None:
            return self._data.anatomy
        if name is not None:
            return anatomy_named(name)
        return ABDOMEN if self.service is None else anatomy_named(self.service.model_info()["anatomy"])

    def _unlabelled(self) -> dict[str, Path]:
        """Images that a model may propose outlines for."""
        if not self._proposals:
            return {}
        if isinstance(self._data, Studies):
            return find_images(self.folder)
        return {} if self._data is not None else by_case(expand_cases(self.folder))

    def _read_labelled(self, entry: CaseEntry) -> tuple[ExportCase, Path | None]:
        assert self._data is not None
        if isinstance(self._data, Studies):
            parts = self._data.read_parts(entry.case_id)
            case = _of_study(parts.case, parts.sweep, parts.drawn, parts.states, parts.problems, self.anatomy)
            raters = _rater_labels(self.folder, parts.sweep) if self._raters else {}
            return replace(case, raters=raters), parts.sweep.source
        labelled = self._data.read(entry.case_id)
        image = self.folder / IMAGES / f"{entry.case_id}.mha" if isinstance(self._data, Acouslic) else None
        grid = _plain_grid(labelled.spacing) if image is None else open_image(image).grid
        return _of_labelled(labelled, grid, self.anatomy), image

    def _scored(self, case: ExportCase, image: Path) -> ExportCase:
        """The case with quality scores, and with proposals where they are wanted."""
        assert self.service is not None
        result = self.service.assess(image, progress=lambda done, total: self._alive())
        record = result.assessment
        if tuple(record["shape"]) != case.frames.shape:
            raise OptionError(f"{case.case_id}: {image.name} changed while it was read; export it again")
        assessed = {frame["index"]: frame for frame in record["frames"]}
        entries = {
            frame: replace(entry, quality=assessed[frame]["quality"]) for frame, entry in case.entries.items()
        }
        quality = np.array([np.nan if one["quality"] is None else one["quality"] for one in record["frames"]])
        unlike = np.array([one.get("unlike_training_data", False) for one in record["frames"]], bool)
        case = replace(case, entries=entries, quality=quality, unlike=unlike)
        if not self._proposals or record["model"]["task"] != "segmentation":
            return case
        masks, model = case.masks.copy(), record["model"]
        for frame, answer in assessed.items():
            if frame in entries or answer["padding"] or not answer["positive"]:
                continue
            masks[frame] = result.masks[frame]
            entries[frame] = FrameEntry(
                frame=frame,
                sweep=_sweep_of(case.ranges, frame),
                state="proposed",
                outlined=bool(masks[frame].any()),
                model=model["name"],
                model_version=model["version"],
                quality=answer["quality"],
                warning=answer.get("warning"),
                interval_mm=_interval(answer),
            )
        return replace(case, entries=entries, masks=masks)


def _interval(answer: Mapping[str, Any]) -> tuple[float, float] | None:
    around = answer.get("circumference_interval_mm")
    return None if around is None else (float(around[0]), float(around[1]))


def _plain_grid(spacing: tuple[float, float] | None) -> Grid:
    return Grid() if spacing is None else Grid(spacing=(spacing[1], spacing[0], 1.0))


def _sweep_of(ranges: Ranges, frame: int) -> int:
    return next((number for number, (start, stop) in enumerate(ranges) if start <= frame < stop), 0)


def _bare(entry: CaseEntry, sweep: Sweep, anatomy: Anatomy) -> ExportCase:
    masks = np.zeros(sweep.shape, np.uint8)
    return ExportCase(
        entry.case_id, entry.subject_id, sweep.frames, masks, {}, sweep.spacing, sweep.ranges, sweep.grid, anatomy
    )


def _of_labelled(case: LabelledCase, grid: Grid, anatomy: Anatomy) -> ExportCase:
    """A case whose masks are all there is: a known frame with a mask is annotated, without one empty."""
    graded = anatomy.name == ABDOMEN.name  # planes of heads are not graded
    entries = {}
    for frame, grade in enumerate(case.grades()):
        if not case.known[frame]:
            continue
        entries[frame] = FrameEntry(
            frame=frame,
            sweep=_sweep_of(case.ranges, frame),
            state="annotated" if grade else "empty",
            plane=PLANE_NAMES.get(int(grade)) if graded else None,
            outlined=bool(grade),
        )
    return ExportCase(
        case_id=case.case_id,
        subject_id=case.subject_id,
        frames=case.frames,
        masks=case.masks,
        entries=entries,
        spacing=case.spacing,
        ranges=case.ranges,
        grid=grid,
        anatomy=anatomy,
    )


def _of_study(
    case: LabelledCase, sweep: Sweep, drawn: np.ndarray, states: Any, problems: tuple[str, ...], anatomy: Anatomy
) -> ExportCase:
    """A case with a frame record: who looked, when, how good the plane is, and what was only proposed."""
    plain = replace(_of_labelled(case, sweep.grid, anatomy), notes=problems)
    if states is None:
        return plain
    entries, masks = dict(plain.entries), case.masks
    for frame, label in states.items():
        if frame in entries:
            entries[frame] = _with_label(entries[frame], label, bool(masks[frame].max() > 1))
        elif not label.known and drawn[frame].any() and not sweep.padding[frame]:
            if masks is case.masks:
                masks = case.masks.copy()
            masks[frame] = fill_outlines((drawn[frame] > 0).astype(np.uint8)[None] * (label.label or 1))[0]
            bare = FrameEntry(frame, _sweep_of(case.ranges, frame), "proposed", outlined=True)
            entries[frame] = _with_label(bare, label, False)
    return replace(plain, entries=dict(sorted(entries.items())), masks=masks)


def _with_label(entry: FrameEntry, label: FrameLabel, suboptimal: bool) -> FrameEntry:
    """An entry with what the record says; a mask's value 2 is a grade too, its value 1 may just be a mask."""
    plane = label.plane or ("suboptimal" if suboptimal else None)
    return replace(
        entry,
        plane=plane if entry.outlined else None,
        rater=label.rater,
        time=label.time,
        model=label.model,
        model_version=label.model_version,
        origin=label.origin if entry.outlined else None,
        clicks=label.clicks if entry.outlined else None,
        source_frame=label.source_frame if entry.outlined else None,
    )


def _rater_labels(folder: Path, sweep: Sweep) -> dict[str, tuple[np.ndarray, FrameRecord]]:
    """Masks and records of the single raters of a case, by tag; what is damaged or of other pixels is left out."""
    store = LabelStore(folder / FOLDER)
    if not is_case_name(sweep.case_id) or not store.folder.is_dir():
        return {}
    pixels, labels = pixels_sha256(sweep.frames), {}
    for tag in store.known_tags(sweep.case_id):
        try:
            version = store.current(sweep.case_id, tag)
            if tag == FINAL or version is None or version.record is None or version.image not in (None, pixels):
                continue
            masks = version.masks(sweep)
        except FetalIQAError:
            continue
        labels[tag] = (masks, version.record)
    return labels
