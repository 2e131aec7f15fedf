"""
The classical learners that networks are held against: each a pipeline, tuned by cross-validation on what it may see.

Needs the train extra.

References
----------
du Buisson et al. 2015, MNRAS 454, 2026, section 5: random forest, k nearest neighbours, SkyNet, support vectors,
minimum error classification, naive Bayes, on principal components of the stamps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from classifiers.features import shape_features

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classifiers.preparing import FloatArray

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]

SEED = 0
FOLDS = 4  # of the tuning
COMPONENTS, SHAPES = "components", "pixels_and_shapes"
FEATURES = (COMPONENTS, SHAPES)
KEPT = 32  # principal components that the pixels are brought to, beside the shapes
TUNED_ON = "roc_auc"  # the area under the curve


@dataclass(frozen=True)
class Learner:
    """
    A classical learner and what is tuned of it.

    Parameters
    ----------
    title : str
        What the papers call it.
    estimator : estimator
        scikit-learn's.
    grid : mapping of str to list
        Values of its parameters that are tried.
    """

    title: str
    estimator: Any
    grid: Mapping[str, list[Any]]


LEARNERS = {
    "random_forest": Learner(
        "Random forest",
        RandomForestClassifier(n_estimators=400, class_weight="balanced", random_state=SEED),
        {"min_samples_leaf": [1, 3, 8], "max_features": ["sqrt", 0.3]},
    ),
    "nearest_neighbours": Learner(
        "k nearest neighbours",
        KNeighborsClassifier(),
        {"n_neighbors": [3, 7, 15, 31], "weights": ["uniform", "distance"]},
    ),
    "sky_net": Learner(
        "MLP (SkyNet)",
        MLPClassifier(max_iter=600, early_stopping=True, n_iter_no_change=20, random_state=SEED),
        {"hidden_layer_sizes": [(50,), (150, 50)], "alpha": [1e-4, 1e-1]},
    ),
    "support_vectors": Learner(
        "Support vector machine",
        SVC(class_weight="balanced", random_state=SEED),
        {"C": [0.3, 3.0, 30.0], "gamma": ["scale", 0.003]},
    ),
    "minimum_error": Learner(
        "Minimum error (Gaussian Bayes)",
        QuadraticDiscriminantAnalysis(),
        {"reg_param": [0.01, 0.1, 0.3, 0.6]},
    ),
    "naive_bayes": Learner("Naive Bayes", GaussianNB(), {"var_smoothing": [1e-9, 1e-3, 1e-1]}),
}


def pipeline(learner: Learner, features: str) -> tuple[Pipeline, dict[str, list[Any]]]:
    """
    Pipeline of a learner on prepared stamps, and the grid it is tuned on.

    Parameters
    ----------
    learner : Learner
        The learner.
    features : {'components', 'pixels_and_shapes'}
        Principal components of the pixels, as the papers have them, or some of them beside shape and light.

    Returns
    -------
    pipeline : Pipeline
        From prepared stamps, shape (N, C, size, size), to probabilities (or scores, of support vectors).
    grid : dict
        For `GridSearchCV`.
    """
    grid = {f"learner__{name}": list(values) for name, values in learner.grid.items()}
    seen: Any = make_pipeline(FunctionTransformer(_flat), StandardScaler(), PCA(KEPT, random_state=SEED))
    if features == COMPONENTS:
        grid["features__pca__n_components"] = [10, 25, 60]
    else:
        seen = FeatureUnion([("shapes", FunctionTransformer(shape_features)), ("pixels", seen)])
    return Pipeline([("features", seen), ("scale", StandardScaler()), ("learner", clone(learner.estimator))]), grid


def tuned(
    learner: Learner, features: str, stamps: FloatArray, labels: Texts, groups: Texts, *, jobs: int = 1
) -> GridSearchCV:
    """
    Fit a learner, its parameters chosen by cross-validation that keeps groups together.

    Parameters
    ----------
    learner : Learner
        The learner.
    features : {'components', 'pixels_and_shapes'}
        What it sees.
    stamps : 4D float32 `~numpy.ndarray`, shape (N, C, size, size)
        Prepared stamps of the training side.
    labels, groups : 1D str `~numpy.ndarray`, shape (N,)
        Their classes and groups.
    jobs : int
        Processes.

    Returns
    -------
    GridSearchCV
        Fitted: ``best_params_``, ``predict``, and the area under the curve that chose.
    """
    estimator, grid = pipeline(learner, features)
    most = int(min(np.unique(groups[labels == name]).size for name in np.unique(labels)))
    cv = StratifiedGroupKFold(max(2, min(FOLDS, most)), shuffle=True, random_state=SEED)
    search = GridSearchCV(estimator, grid, scoring=TUNED_ON, cv=cv, n_jobs=jobs, error_score="raise")
    return search.fit(stamps, labels, groups=groups)


def positive_scores(fitted: Any, stamps: FloatArray, positive: str) -> Floats:
    """
    What ranks stamps by how sure a learner is of a class, higher for surer.

    Parameters
    ----------
    fitted : estimator
        Of two classes.
    stamps : 4D float32 `~numpy.ndarray`, shape (N, C, size, size)
        Prepared stamps.
    positive : str
        The class.

    Returns
    -------
    1D float64 `~numpy.ndarray`, shape (N,)
        Probabilities where the learner has them; of support vectors the distance from the border.
    """
    if hasattr(fitted, "predict_proba"):
        return np.asarray(fitted.predict_proba(stamps)[:, list(fitted.classes_).index(positive)], np.float64)
    side = 1.0 if fitted.classes_[1] == positive else -1.0
    return side * np.asarray(fitted.decision_function(stamps), np.float64)


def _flat(stamps: FloatArray) -> FloatArray:
    return stamps.reshape(len(stamps), -1)
