"""The paper's tables and figures, run anew: what the command line and other programs use.

The parts are in ``fetaliqa.experiments.paper``; its text says what each experiment is, and why their numbering is
ours.
"""

from fetaliqa.experiments.paper.ablation import ablations
from fetaliqa.experiments.paper.experiments import EXPERIMENTS, Outcome, run_experiment
from fetaliqa.experiments.paper.opening import open_study
from fetaliqa.experiments.paper.report import write_report
from fetaliqa.experiments.paper.rows import Row, baseline_row, fetalclip_row
from fetaliqa.experiments.paper.study import Study
from fetaliqa.experiments.paper.table import Cell, Table
from fetaliqa.experiments.paper.trials import RowResult, Trial, run_row

__all__ = [
    "EXPERIMENTS",
    "Cell",
    "Outcome",
    "Row",
    "RowResult",
    "Study",
    "Table",
    "Trial",
    "ablations",
    "baseline_row",
    "fetalclip_row",
    "open_study",
    "run_experiment",
    "run_row",
    "write_report",
]
