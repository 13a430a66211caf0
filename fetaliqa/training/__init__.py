"""Training: frames, augmentation, losses, fitting, and the demo model's recipe."""
