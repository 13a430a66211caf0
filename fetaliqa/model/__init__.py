"""Networks, FetalCLIP weights, LoRA adapters, and model bundles.

Build one to train with ``build_segmentation`` or ``build_classification``; save it with ``save_bundle``; use it
with ``Bundle.open(path).load_model()``.
"""

from __future__ import annotations

import lazy_loader

# names are imported on first use, so that settings and paths are checked before torch is loaded
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
