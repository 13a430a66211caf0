"""Lightning says much that is not about the run: advertisements, missing hardware, known deprecations."""

from __future__ import annotations

import logging
import warnings


def quiet_lightning() -> None:
    """Leave Lightning's warnings about this run, and nothing else."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*litlogger.*")
    warnings.filterwarnings("ignore", message=".*srun.*")
