"""Filters for Lightning's log messages that do not concern the run (tips, hardware, deprecations)."""

from __future__ import annotations

import logging
import warnings


def quiet_lightning() -> None:
    """Silence all of Lightning's messages but warnings about this run."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*litlogger.*")
    warnings.filterwarnings("ignore", message=".*srun.*")
