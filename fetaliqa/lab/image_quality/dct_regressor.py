"""The regressor of BLIINDS-II: features of a frame to its quality.

The authors fit a multivariate generalised Gaussian of features and opinion scores of photographs; its parameters
are not published with the paper. Ours is a support vector regression (radial basis functions) of the same
features, trained on the frames that the other trained measures learn from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.lab.image_quality.dct_statistics import bliinds_features
from fetaliqa.lab.image_quality.frame_sample import FrameSample
from fetaliqa.training.memory_watch import Report

COST, TUBE = 1.0, 0.05  # of the regression; scikit-learn's default, and a twentieth of the range of qualities


@dataclass(frozen=True, eq=False)
class FeatureRegressor:
    """A trained regressor, as arrays.

    Attributes:
        mean, spread: of the features, float64 [24].
        vectors: support vectors of standardised features, float64 [K, 24].
        weights: of the support vectors, float64 [K].
        constants: width of the basis functions and intercept, float64 [2].
    """

    mean: np.ndarray
    spread: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray
    constants: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Qualities of features float [N, 24], float64 [N]; NaN where a feature is."""
        scaled = (features - self.mean) / self.spread
        distances = ((scaled[:, None] - self.vectors[None]) ** 2).sum(axis=2)
        width, intercept = self.constants
        qualities: np.ndarray = np.exp(-width * distances) @ self.weights + intercept
        return qualities

    def score(self, frame: np.ndarray, inside: np.ndarray) -> float:
        """Quality of a frame uint8 [h, w]; NaN where its features are undefined."""
        return float(self(bliinds_features(frame, inside)[None])[0])


def train_regressor(sample: FrameSample, report: Report) -> FeatureRegressor:
    """Fit the regressor to the frames of a sample that have features."""
    from sklearn.svm import SVR

    rows = []
    for number, (frame, inside) in enumerate(zip(sample.frames, sample.inside)):
        rows.append(bliinds_features(frame, inside))
        report("BLIINDS-II: features", number + 1, len(sample))
    features = np.array(rows)
    usable = np.isfinite(features).all(axis=1)
    mean, spread = features[usable].mean(axis=0), np.maximum(features[usable].std(axis=0), 1e-9)
    model = SVR(C=COST, epsilon=TUBE, gamma=1.0 / features.shape[1])
    model.fit((features[usable] - mean) / spread, sample.targets[usable])
    constants = np.array([1.0 / features.shape[1], model.intercept_[0]])
    return FeatureRegressor(mean, spread, model.support_vectors_, model.dual_coef_[0], constants)
