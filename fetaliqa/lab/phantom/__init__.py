"""A seeded synthetic blind-sweep generator: a fetus in a uterus under a curvilinear probe.

Importing this package is cheap; the generator is loaded on first use.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
