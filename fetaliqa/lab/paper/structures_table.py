"""Table of the structures that the measure after FUIQA finds on held-out phantoms."""

from __future__ import annotations

from fetaliqa.errors import OptionError, TrainingError, WeightsError
from fetaliqa.lab.image_quality.structure_network import StructureFigures, structure_figures, structure_frames
from fetaliqa.lab.image_quality.trained_measures import read_structure_network
from fetaliqa.lab.paper.figure_table import NOT_RUN, Cell, Table
from fetaliqa.lab.paper.measure_training import MeasureTraining
from fetaliqa.lab.paper.paper_study import Study, without_folders
from fetaliqa.lab.phantom.phantom_seeds import STRUCTURES_TEST

CASES = 30
COLUMNS = {
    "structure": "structure",
    "frames": "frames",
    "shown": "show it",
    "found": "of these, found",
    "absent": "of the others, rightly not found",
    "roc_auc": "ROC-AUC",
    "dice": "mean Dice where shown",
}
NOTE = (
    f"{CASES} phantom cases that nothing was trained on; of each sweep up to 5 frames with an outline, 2 that "
    "cut the trunk and 1 other. Phantoms draw stomach and vein as dark ellipses; real ones look otherwise, and no "
    "real outlines of them were available."
)


def structures_table(study: Study) -> Table:
    """Train the network, if it is not there, and judge it on phantoms."""
    figures: list[StructureFigures] = []
    not_run = {}
    training = MeasureTraining(study)
    try:
        training.scorer("fuiqa")
        drawn = structure_frames(
            range(STRUCTURES_TEST, STRUCTURES_TEST + CASES),
            lambda done, total: study.report("structures: phantom cases", done, total),
        )
        figures = structure_figures(
            read_structure_network(training.file("fuiqa")),
            drawn,
            lambda done, total: study.report("structures: frames", done, total),
        )
    except (OptionError, TrainingError, WeightsError) as problem:
        not_run["structures"] = without_folders(str(problem)).removeprefix(f"{NOT_RUN}: ")
    rows = tuple(
        {"structure": Cell(one.name), "frames": Cell(str(one.frames)), "shown": Cell(str(one.shown))}
        | {name: _cell(getattr(one, name)) for name in ("found", "absent", "roc_auc", "dice")}
        for one in figures
    )
    return Table(
        "structures",
        "Structures of the standard plane, found on phantoms",
        COLUMNS,
        (tuple(COLUMNS)[1:],),
        rows,
        not_run,
        (NOTE,),
    )


def _cell(value: float | None) -> Cell:
    return Cell("undefined") if value is None else Cell(f"{value:.3f}", value)
