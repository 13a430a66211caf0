"""Training: recipes, prepared frames, augmentation, losses, trainer, run folders."""
