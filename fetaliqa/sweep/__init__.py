"""Sweep files: frames, pixel spacing and sweep borders of every format; masks on the same grid."""

from fetaliqa.sweep.masks import MASK_SUFFIXES, read_masks, write_masks
from fetaliqa.sweep.sweep_ranges import Ranges, SweepsOption, parse_ranges
from fetaliqa.sweep.sweep_reader import (
    DETACHED_SUFFIXES,
    SWEEP_SUFFIXES,
    case_id_of,
    files_of,
    is_self_contained,
    is_single_frame_dicom,
    is_sweep_path,
    read_sweep,
)
from fetaliqa.sweep.sweep_types import Grid, Sweep, sweep_from_array

__all__ = [
    "DETACHED_SUFFIXES",
    "MASK_SUFFIXES",
    "SWEEP_SUFFIXES",
    "Grid",
    "Ranges",
    "Sweep",
    "SweepsOption",
    "case_id_of",
    "files_of",
    "is_self_contained",
    "is_single_frame_dicom",
    "is_sweep_path",
    "parse_ranges",
    "read_masks",
    "read_sweep",
    "sweep_from_array",
    "write_masks",
]
