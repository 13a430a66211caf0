"""Applies a selection to the frames of a case."""

from __future__ import annotations

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.export.export_case import ExportCase, FrameEntry
from fetaliqa.export.frame_selection import UNGRADED, Selection
from fetaliqa.measure.frame_ranking import rank_frames


def chosen_entries(case: ExportCase, selection: Selection) -> dict[int, FrameEntry]:
    """Entries of the selected frames, in the order of the stack.

    Raises:
        OptionError: when the selection goes by quality and no frame was scored.
    """
    if not selection.takes_case(case.case_id):
        return {}
    selected = {frame: entry for frame, entry in sorted(case.entries.items()) if _fits(entry, selection)}
    if selection.needs_quality:
        if selected and all(entry.quality is None for entry in selected.values()):
            raise OptionError(
                f"{case.case_id}: its frames have no quality score, and the selection asks for the best; "
                "name the model that scores them (--model)"
            )
        least = selection.min_quality or 0.0
        selected = {
            f: entry for f, entry in selected.items() if entry.quality is not None and entry.quality >= least
        }
    return selected if selection.top is None or not selected else _best(case, selected, selection)


def _fits(entry: FrameEntry, selection: Selection) -> bool:
    if entry.state not in selection.states or not selection.takes_time(entry.time):
        return False
    if selection.raters is not None and entry.rater not in selection.raters:
        return False
    if selection.planes is None:
        return True
    return entry.outlined and (entry.plane or UNGRADED) in selection.planes


def _best(case: ExportCase, candidates: dict[int, FrameEntry], selection: Selection) -> dict[int, FrameEntry]:
    assert selection.top is not None
    assert case.quality is not None  # entries with a score come from a model that scored the case
    offered = np.zeros(len(case.frames), bool)
    offered[list(candidates)] = True
    ranking = rank_frames(
        case.quality, offered, case.ranges, top_n=selection.top, min_gap=selection.gap, unlike=case.unlike
    )
    ranked = ranking.frames if selection.per == "case" else [f for sweep in ranking.sweeps for f in sweep.frames]
    return {frame: candidates[frame] for frame in sorted(ranked)}
