"""Entry points for the reproduction of the paper's tables and figures.

The implementation is in ``fetaliqa.lab.paper``, which describes the experiments and their numbering.
"""

from fetaliqa.lab.paper.ablation import ablations
from fetaliqa.lab.paper.experiment_list import EXPERIMENTS, Outcome, run_experiment
from fetaliqa.lab.paper.figure_table import Cell, Table
from fetaliqa.lab.paper.paper_report import write_report
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.lab.paper.study_setup import open_study
from fetaliqa.lab.paper.table_rows import Row, baseline_row, fetalclip_row
from fetaliqa.lab.paper.trial_runs import RowResult, Trial, run_row

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
