"""HTTP endpoints of the front: MONAI Label's API with checked input, off the event loop."""
