"""FetalIQA: find, outline and measure the fetal abdomen in blind-sweep ultrasound.

The library knows nothing of MONAI Label, 3D Slicer, HTTP or the command line; those are thin
layers on top of it. Importing this package imports neither torch nor SimpleITK.
"""

__version__ = "0.1.0"
