"""Frame metrics, ranking, calibration, confidence intervals, and the ACOUSLIC-AI challenge's metrics."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
