"""Models for other software: exports of a model bundle that run without FetalIQA."""
