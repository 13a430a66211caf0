"""Research: tables of the paper, distillation, phantoms, still images, baselines, label efficiency."""
