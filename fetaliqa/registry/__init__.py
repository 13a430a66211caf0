"""Models in use: model store, publishing and rollback, assessment service."""

from __future__ import annotations

import lazy_loader

# names are imported on first use, so that settings and paths are checked before torch is loaded
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
