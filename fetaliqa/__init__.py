"""FetalIQA: find, outline and measure the fetal abdomen in blind-sweep ultrasound.

The names of this package are its public Python API (docs/python-api.md); each is imported on first use, so that
``import fetaliqa`` imports none of NumPy, PyTorch and SimpleITK. The library knows nothing of MONAI Label,
3D Slicer, HTTP or the command line; those are thin layers on top of it.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
