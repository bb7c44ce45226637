"""Judge the certificate: which condition of sound training failed, when, by how much, and what to change.

Conditions, causes before what follows from them (derived in docs/theory.md, limits measured by
pipelines/stability_study.py):

- ``fast_step``: the prototypes' step stays below the largest stable one: upper bound on ``lr_ratio``. The bound assumes
  that Adam's second moment has settled, so the first epoch does not count.
- ``identity``: ``|L_q - L_rec - V| / L_q`` stays at rounding error; prototypes thrown far out lose it.
- ``supercritical``: the temperature ends below the critical one of the whole objective, at the tokens as they are.
- ``tracking``: prototypes end with less than half of their way to go: lower bound on ``lr_ratio``.
- ``alive``: less than a quarter of the prototypes ends without members.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import narwhals.stable.v2 as nw

from ddcl_tab.errors import StabilityWarning
from ddcl_tab.training._certificate import EpochCertificate

STABLE = "stable"
#: Modules, by how their names begin, whose functions fit more than once.
_FIT_MANY = ("sklearn.", "ddcl_tab.interpret.")
#: Set in the frame of a call of them that has been warned of; no name of a variable.
_WARNED = "ddcl-tab has warned"
NOT_CERTIFIED = "not certified: fitted with certify=False"
INTERRUPTED = "interrupted in epoch {}, before the training was done: not judged"


class Condition(NamedTuple):
    """One condition: a figure of the certificate that must stay below a limit.

    Attributes
    ----------
    figure : str
        Field of :class:`EpochCertificate`.
    limit : float
    every_epoch : bool
        Whether it must hold in every epoch but the first, or only in the one that was kept.
    words : str
        What the figure is.
    plain : str
        What it means that the condition fails, for somebody who has not read docs/theory.md.
    advice : callable
        What to change, from the epoch that failed.
    """

    figure: str
    limit: float
    every_epoch: bool
    words: str
    plain: str
    advice: Callable[[EpochCertificate], str]


CONDITIONS: dict[str, Condition] = {
    "fast_step": Condition(
        "sharpness",
        1.0,
        True,
        "the prototypes' step over the largest stable one is",
        "prototypes jump past where they should settle",
        lambda e: "lower lr_ratio" + ("" if math.isnan(e.sharpness) else f" below {e.lr_ratio / e.sharpness:.2g}"),
    ),
    "identity": Condition(
        "identity_residual",
        1e-5,
        True,
        "the identity L_q = L_rec + V is off by",
        "tokens and prototypes have grown so large that rounding spoils the training",
        lambda e: "lower lr",
    ),
    "supercritical": Condition(
        "tau_joint",
        1.0,
        False,
        "the temperature over the critical one of the whole objective is",
        "it is too warm for prototypes to part",
        lambda e: "lower temperature",
    ),
    "tracking": Condition(
        "lag",
        0.5,
        False,
        "the share of their way that prototypes still have to go is",
        "prototypes have not settled",
        lambda e: f"train longer, or raise lr_ratio above {e.lr_ratio:.2g} (max_epochs and patience say how long)",
    ),
    "alive": Condition(
        "dead_share",
        0.25,
        False,
        "the share of dead prototypes is",
        "too many prototypes have no rows of their own",
        lambda e: f"lower n_prototypes by {e.dead_prototypes}",
    ),
}


@dataclass(frozen=True)
class Stability:
    """Certificate of a fit.

    Parameters
    ----------
    epochs : tuple of EpochCertificate
        Empty if the fit was not certified.
    interrupted : int, optional
        Epoch in which the training was interrupted. What counts at the end of a training was then never measured.
    kept : int, optional
        Epoch whose weights are the model. What concerns the prototypes as they stand is judged there, or in the last
        epoch certified where that one is not (``certify="end"``).

    Examples
    --------
    >>> Stability(())
    Stability(verdict='not certified: fitted with certify=False', margins={})
    """

    epochs: tuple[EpochCertificate, ...]
    interrupted: int | None = None
    kept: int | None = None

    def __repr__(self) -> str:
        margins = {name: float(f"{margin:.3g}") for name, margin in self.margins.items()}
        return f"Stability(verdict={self.verdict!r}, margins={margins})"

    @property
    def margins(self) -> dict[str, float]:
        """Worst figure of each condition over its limit, minus 1: below 0 where the condition holds."""
        return {name: getattr(self.worst(c), c.figure) / c.limit - 1.0 for name, c in CONDITIONS.items() if self.epochs}

    @property
    def is_stable(self) -> bool:
        """Whether the fit came to its end, was certified, and every condition holds."""
        return self.interrupted is None and bool(self.epochs) and all(margin < 0.0 for margin in self.margins.values())

    @property
    def verdict(self) -> str:
        """``"stable"``, or a sentence: what is wrong, what to change, and what was measured when."""
        if self.interrupted is not None:
            return INTERRUPTED.format(self.interrupted)
        if not self.epochs:
            return NOT_CERTIFIED
        if self.is_stable:
            return STABLE
        # The first that failed is the cause of those after it.
        condition = CONDITIONS[next(name for name, margin in self.margins.items() if not margin < 0.0)]
        epoch = self.worst(condition)
        figure = getattr(epoch, condition.figure)
        plain = "the certificate cannot be measured" if math.isnan(figure) else condition.plain
        return (
            f"not stable: {plain}: {condition.advice(epoch)}; {condition.words} {figure:.2g} in epoch {epoch.epoch} "
            f"(must stay below {condition.limit:g})"
        )

    def to_frame(self, library: Literal["pandas", "polars"] = "pandas") -> Any:
        """One row an epoch, one column a figure; ``library`` is ``"pandas"`` or ``"polars"``."""
        rows = [asdict(epoch) for epoch in self.epochs]
        names = list(EpochCertificate.__dataclass_fields__)
        return nw.from_dict({name: [row[name] for row in rows] for name in names}, backend=library).to_native()

    def worst(self, condition: Condition) -> EpochCertificate:
        """The epoch that decides whether ``condition`` holds."""
        if not condition.every_epoch:
            return next((epoch for epoch in self.epochs if epoch.epoch == self.kept), self.epochs[-1])
        # NaN compares as false with everything: without the first key it could hide behind a sound epoch.
        return max(
            self.epochs[1:] or self.epochs,
            key=lambda epoch: (math.isnan(getattr(epoch, condition.figure)), getattr(epoch, condition.figure)),
        )


def warn_unstable(stability: Stability) -> None:
    """Warn with the verdict, at the line of the user's own code.

    A call of scikit-learn, such as a search or a cross-validation, or of :mod:`ddcl_tab.interpret`, such as
    ``out_of_fold``, is warned of once, however many fits it makes (where it computes in several processes, in those
    each fit is on its own).

    Parameters
    ----------
    stability : Stability
        Of a fit that is not stable.
    """
    frame, call, depth, stacklevel = sys._getframe(), None, 1, 1
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] in ("ddcl_tab", "sklearn"):
            stacklevel = depth + 1
            call = frame if module.startswith(_FIT_MANY) else call
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    # The clones that are fitted share nothing, but the frame of the outermost call lives exactly as long as the call.
    # Filters of Python cannot do this: scikit-learn enters catch_warnings for every fit, which makes them forget.
    if call is not None and _WARNED in call.f_locals:
        return
    warnings.warn(stability.verdict, StabilityWarning, stacklevel=stacklevel)
    if call is not None:  # only now: where warnings are errors, each fit raises its own
        call.f_locals[_WARNED] = True
