"""MONAI Label's tasks: inference, batches, retraining, active learning; exports; worker processes."""
