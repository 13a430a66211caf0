"""Assessment of one file, computed or cached, with access to its sweep and masks."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.inference.assessment_cache import (
    AssessmentCache,
    cache_key,
    packed_shape,
    unpack_frames,
    unpack_masks,
    used,
)
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.frame_profile import FrameProfile
from fetaliqa.measure.plausibility import case_notes
from fetaliqa.sweep import Grid, Sweep, read_sweep, write_masks
from fetaliqa.sweep.mask_files import write_frames


@dataclass
class AssessmentResult:
    """One case's assessment, with access to its sweep and masks.

    Attributes:
        assessment: JSON-able record (docs/assessment.md).
        cached: True when nothing was computed for this request.
    """

    assessment: dict[str, Any]
    cached: bool
    _path: Path
    _options: AssessOptions
    _packed: Mapping[str, np.ndarray] | None
    _masks: np.ndarray | None
    _sweep: Sweep | None
    _cache: AssessmentCache | None
    _key: str
    _grid: Grid

    @cached_property
    def profile(self) -> FrameProfile | None:
        """Profile of the frames; None for a classifier, and for cache entries of earlier versions."""
        return None if self._packed is None else FrameProfile.from_arrays(self._packed)

    @property
    def masks(self) -> np.ndarray:
        """uint8 [T, H, W] on the native grid; 1 inside the outlined anatomy."""
        if self._masks is None:
            assert self._packed is not None
            self._masks = unpack_masks(self._packed)
        return self._masks

    @property
    def sweep(self) -> Sweep:
        """The frames; read again from the file when the result came from the cache."""
        if self._sweep is None:
            self._sweep = read_sweep(self._path, sweeps=self._options.sweep_count)
        return self._sweep

    @property
    def key(self) -> str:
        """Cache key of the assessment, from the pixels, the bundle and the options."""
        return self._key

    def mask_frames(self) -> Iterator[np.ndarray | None]:
        """Iterate over the masks in frame order: uint8 [H, W], or None for an empty one."""
        return iter(self.masks) if self._packed is None else unpack_frames(self._packed)

    def of_other_file(self, path: Path, sweep: Sweep) -> AssessmentResult:
        """The same assessment for another file with equal pixels."""
        record = copy.deepcopy(self.assessment)
        record["case_id"] = sweep.case_id
        record["notes"] = case_notes(sweep.notes, record["frames"], record["model"]["anatomy"])
        result = replace(self, assessment=record, cached=True, _path=path, _sweep=sweep, _grid=sweep.grid)
        result.profile = self.profile
        return result

    def write_masks(self, target: Path) -> None:
        """Write the mask stack to ``target`` on the input's own grid, from the cache if possible."""
        target = Path(target)
        extension = ".nii.gz" if target.name.endswith(".nii.gz") else target.suffix
        if self._cache is None:
            self._write(target)
            return
        # the key includes the pixels' hash, not the grid: files with equal pixels may have different geometry
        cached = self._cache.file_for(cache_key(self._key, asdict(self._grid)), extension)
        try:
            shutil.copyfile(cached, target)
            used(cached)
        except OSError:  # not cached or not readable; if ``target`` is not writable, the next line raises
            self._write(target)
            self._cache.keep_file(cached, target)

    def _write(self, target: Path) -> None:
        """Write from packed masks if there are any: the sweep's file need not be read."""
        if self._packed is None:
            write_masks(target, self.masks, self.sweep)
        else:
            write_frames(target, packed_shape(self._packed), self._grid, unpack_frames(self._packed))
