"""The models of the accuracy benchmark behind one interface: ``fit(X, y, groups)`` and ``predict_proba(X)``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from ddcl_tab import DDCLClassifier
from peers import forms, networks, readouts, trees

OURS = "DDCLClassifier"


class Model(NamedTuple):
    """How to make a model.

    Attributes
    ----------
    make : callable
        ``make(seed, **settings)``: an unfitted model.
    defaults : dict
        Settings in the table of defaults; what is not named is the library's own default.
    short : dict
        Settings that replace some of them in the short form.
    packages : tuple of str
        Modules of the ``bench`` extra that it needs.
    boosting : bool
        The best of these is what all are compared to.
    """

    make: Callable[..., Any]
    defaults: dict[str, Any]
    short: dict[str, Any]
    packages: tuple[str, ...] = ()
    boosting: bool = False

    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


_FEW_EPOCHS = {"max_epochs": 3}


def _ours(seed: int, **settings: Any) -> DDCLClassifier:
    return DDCLClassifier(**settings | {"random_state": seed, "family": None})  # a task may forbid them, or has them


def _readout(name: str, **fixed: Any) -> Model:
    def make(seed: int, **settings: Any) -> readouts.ReadoutPeer:
        return readouts.ReadoutPeer(name, seed, **fixed, **settings)

    return Model(make, readouts.shared_settings(), _FEW_EPOCHS)


def _row_form(seed: int, **settings: Any) -> forms.FormPeer:
    known = (*readouts.SHARED, *forms.OF_PROTOTYPES)
    return forms.FormPeer(forms.ROWS, seed, **{name: value for name, value in settings.items() if name in known})


#: `DDCLClassifier` until prototypes read column tokens: its defaults of then. Lines up to commit ed8b705 are of
#: that class itself, with its training of then.
ROW_FORM = DDCLClassifier().get_params() | {
    "n_prototypes": forms.N_PROTOTYPES, "temperature": 0.02, "quantization_weight": 0.1, "column_weight": 0.1,
    "lr_ratio": 10.0, "max_epochs": 50,
}  # fmt: skip
del ROW_FORM["contribution_weight"], ROW_FORM["hidden_share"]

MODELS: dict[str, Model] = {
    OURS: Model(_ours, DDCLClassifier().get_params(), _FEW_EPOCHS),
    "row form": Model(_row_form, ROW_FORM, _FEW_EPOCHS),
    **{f"our encoder, {name}": _readout(name) for name in readouts.READOUTS},
    "our encoder, prototypes by distance": _readout("class token", by_distance=True),
    "FT-Transformer": Model(
        networks.ft_transformer,
        {"d_block": 64, "n_blocks": 2, "lr": 3e-4, "weight_decay": 1e-5, "max_epochs": 100},
        _FEW_EPOCHS,
        ("rtdl_revisiting_models",),
    ),
    "MLP, periodic": Model(
        networks.periodic_mlp,
        {
            "n_blocks": 3,
            "d_block": 384,
            "dropout": 0.1,
            "frequency_scale": 1.0,
            "lr": 1e-3,
            "weight_decay": 1e-5,
            "max_epochs": 100,
        },
        _FEW_EPOCHS,
        ("rtdl_revisiting_models",),
    ),
    "TabM": Model(
        networks.tabm,
        {"d_block": 512, "n_bins": 48, "lr": 2e-3, "weight_decay": 3e-4, "max_epochs": 100},
        {"d_block": 64, **_FEW_EPOCHS},
        ("tabm",),
    ),
    "HistGradientBoosting": Model(trees.hist_gradient_boosting, {}, {"max_iter": 20}, boosting=True),
    "LightGBM": Model(trees.lightgbm, {}, {"n_estimators": 20}, ("lightgbm",), boosting=True),
    "XGBoost": Model(trees.xgboost, {}, {"n_estimators": 20}, ("xgboost",), boosting=True),
    "CatBoost": Model(trees.catboost, {}, {"iterations": 50}, ("catboost",), boosting=True),
    "random forest": Model(trees.random_forest, {"n_estimators": 500}, {"n_estimators": 50}),
    # A bag takes about a minute here, and there are 14 by default.
    "EBM": Model(trees.additive, {"outer_bags": 4}, {"outer_bags": 2, "max_rounds": 50}, ("interpret",)),
}
