"""What the FetalIQA module of 3D Slicer is made of; few of its files know Slicer or Qt (docs/slicer.md)."""
