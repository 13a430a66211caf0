"""Library of the FetalIQA module for 3D Slicer; only few modules use Slicer or Qt (docs/slicer.md)."""
