"""Numbers to the few characters of SVG that draw them: scales with ticks, points, lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ddcl_tab.interpret.report.words import superscript

#: Most ticks of an axis.
N_TICKS = 6
#: Marker -> how a point of it is drawn from where it starts, and how far that moves the pen. Strokes of a path, so a
#: point costs a few characters. A square is a short stroke with square caps, for PDF draws those of length 0 with round
#: caps only.
MARKERS: dict[str, tuple[str, int, int]] = {
    "dot": ("h0", 0, 0),
    "dash": ("h4", 4, 0),
    "square": ("h1", 1, 0),
    "bar": ("v4", 0, 4),
    "slash": ("l3-3", 3, -3),
    "backslash": ("l3 3", 3, 3),
}


@dataclass(frozen=True)
class Tick:
    """A mark of an axis.

    Attributes
    ----------
    at : float
        Where, in units of the drawing.
    label : str
    """

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """Values to places on one axis.

    Attributes
    ----------
    low, high : float
        Values at the ends.
    start, end : float
        Their places, in units of the drawing.
    log : bool

    Examples
    --------
    >>> scale = Scale(0.0, 100.0, 10.0, 110.0)
    >>> scale(np.array([50.0])).tolist(), [tick.label for tick in scale.ticks()]
    ([60.0], ['0', '20', '40', '60', '80', '100'])
    >>> [tick.label for tick in Scale(1e-8, 1e-5, 0.0, 1.0, log=True).ticks()]
    ['10⁻⁸', '10⁻⁷', '10⁻⁶', '10⁻⁵']
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places of values; beyond the ends they stay at the ends."""
        low, high = self._of(np.array([self.low, self.high]))
        share = (self._of(np.clip(values, self.low, self.high)) - low) / (high - low)
        return self.start + (self.end - self.start) * share

    def ticks(self, n: int = N_TICKS) -> list[Tick]:
        """Round values between the ends, at most ``n`` of them."""
        values = self._round_logs(n) if self.log else self._round_steps(n)
        return [Tick(round(float(self(np.array([v]))[0]), 1), tick_label(v)) for v in values]

    def _of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log10(values) if self.log else values

    def _round_steps(self, n: int) -> list[float]:
        rough = (self.high - self.low) / max(n - 1, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _round_logs(self, n: int) -> list[float]:
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for marks in ((1, 2, 5), (1, 3), (1,)):
            values = [m * 10.0**p for p in range(low, high + 1) for m in marks]
            inside = [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]
            if len(inside) <= n:
                return inside
        return inside[:: -(-len(inside) // n)]


def tick_label(value: float) -> str:
    """A round number, short.

    Examples
    --------
    >>> tick_label(36000.0), tick_label(0.25), tick_label(1e-6), tick_label(0.0)
    ('36,000', '0.25', '10⁻⁶', '0')
    """
    if value and (abs(value) < 1e-3 or abs(value) >= 1e7):
        mantissa, power = f"{value:.0e}".split("e")
        return f"{'' if mantissa == '1' else f'{mantissa}×'}10{superscript(int(power))}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def points_path(x: NDArray[np.float64], y: NDArray[np.float64], marker: str) -> str:
    """Path of points at whole units, each drawn once where several fall on one place.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        In units of the drawing.
    marker : str
        One of :data:`MARKERS`.

    Returns
    -------
    str
        For the attribute ``d``; empty without points.

    Examples
    --------
    >>> points_path(np.array([5.2, 9.0, 5.0]), np.array([7.0, 3.0, 6.9]), "dot")
    'm5 7h0m4-4h0'
    """
    if not len(x):
        return ""
    stroke, right, down = MARKERS[marker]
    places = np.unique(np.column_stack([np.rint(x), np.rint(y)]).astype(int), axis=0)
    # The pen starts half a stroke before the place, and ends half a stroke behind the one before.
    places -= np.array([right // 2, down // 2 if down > 0 else -(-down // 2)])
    moves = np.diff(places, axis=0) - np.array([right, down])
    steps = np.concatenate([places[:1], moves])
    return "".join(f"m{dx}{dy if dy < 0 else f' {dy}'}{stroke}" for dx, dy in steps.tolist())


def line_path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Path of a line; interrupted where ``y`` is not finite.

    Examples
    --------
    >>> line_path(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.5, np.nan, 4.0]))
    'M0 1L1 2.5M3 4'
    """
    parts, pen_down = [], False
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(b):
            parts.append(f"{'L' if pen_down else 'M'}{a:.5g} {b:.5g}")
        pen_down = math.isfinite(b)
    return "".join(parts)
