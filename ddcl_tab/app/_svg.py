"""Numbers as a person reads them, and the few characters of SVG that draw them; colours and markers of classes."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Digits that matter.
DIGITS = 3
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """To three digits, large ones to the unit.

    Examples
    --------
    >>> number(35786.2), number(98.64), number(0.00123), number(-4.87e-7), number(float("nan"))
    ('35,786', '98.6', '0.00123', '−4.87 × 10⁻⁷', 'not known')
    """
    if not math.isfinite(value):
        return "not known"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size == 0:
        return "0"
    if size < 1e-3:
        mantissa, power = f"{size:.{DIGITS - 1}e}".split("e")
        return f"{sign}{_short(mantissa)} × 10{superscript(int(power))}"
    if size >= 100:
        return f"{sign}{size:,.0f}"
    return sign + _short(f"{size:.{DIGITS - 1 - math.floor(math.log10(size))}f}")


def superscript(power: int) -> str:
    """An exponent.

    Examples
    --------
    >>> superscript(-12)
    '⁻¹²'
    """
    return str(power).translate(_SUPERSCRIPT)


def unit_words(unit: str) -> str:
    """A unit as it is printed; years need none."""
    return "" if unit == "year" else unit.replace("^2", "²").replace("^3", "³").replace("1/", "per ")


def percent(share: float) -> str:
    r"""A share; never 0 or 100 % by rounding alone. The space does not break.

    Examples
    --------
    >>> [percent(share).replace("\xa0", " ") for share in (0.1234, 0.99996, 0.0001, 1.0, 0.0)]
    ['12.3 %', '> 99.9 %', '< 0.1 %', '100 %', '0 %']
    """
    if share in (0.0, 1.0):
        return f"{100 * share:.0f}\xa0%"
    if share < 0.0005:
        return "<\xa00.1\xa0%"
    return ">\xa099.9\xa0%" if share >= 0.9995 else f"{100 * share:.1f}\xa0%"


def signed(value: float, decimals: int = 1) -> str:
    """A number with its sign.

    Examples
    --------
    >>> signed(0.25), signed(-1.52), signed(-0.0123, 3)
    ('+0.2', '−1.5', '−0.012')
    """
    return f"{value:+.{decimals}f}".replace("-", "−")


def _short(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


#: Most ticks of an axis.
N_TICKS = 6
#: Marker -> how a point of it is drawn from where it starts, and how far that moves the pen. Strokes of a path, so a
#: point costs a few characters. A square is a short stroke with square caps, for PDF draws those of length 0 with round
#: caps only.
MARKERS: dict[str, tuple[str, int, int]] = {
    "dot": ("h0", 0, 0),
    "square": ("h1", 1, 0),
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


#: Backgrounds of the page in both schemes; style.css names the same.
LIGHT, DARK = "#ffffff", "#14181f"
#: Hue [deg] and saturation of the classes in turn: the first three differ to all common kinds of sight.
HUES = ((24, 0.85), (212, 0.75), (158, 0.85), (300, 0.45), (48, 0.95), (265, 0.55), (185, 0.85), (345, 0.75))
#: Contrast with the background of a class's typed objects, and of its unknown ones, which must stand out before them;
#: graphics need 3:1 (WCAG 2.2, 1.4.11).
CLASS_CONTRAST, UNKNOWN_CONTRAST = 4.0, 9.0


@dataclass(frozen=True)
class Ink:
    """How a group of objects is drawn.

    Attributes
    ----------
    light, dark : str
        Colours on a light and a dark page, ``#rrggbb``.
    marker : str
        One of :data:`ddcl_tab.app._svg.MARKERS`.
    """

    light: str
    dark: str
    marker: str


def class_inks(n_classes: int) -> list[Ink]:
    """One ink a class."""
    return [Ink(*_both(c, CLASS_CONTRAST), "dot") for c in range(n_classes)]


def unknown_inks(n_classes: int) -> list[Ink]:
    """One ink a class for objects that are only thought to be of it: the same hue, another shade and marker."""
    return [Ink(*_both(c, UNKNOWN_CONTRAST), "square") for c in range(n_classes)]


def contrast(first: str, second: str) -> float:
    """Contrast of two colours as the WCAG define it: 1 to 21.

    Examples
    --------
    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """
    a, b = sorted((_luminance(first), _luminance(second)))
    return (b + 0.05) / (a + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _both(c: int, wanted: float) -> tuple[str, str]:
    hue, saturation = HUES[c % len(HUES)]
    return _shade(hue, saturation, LIGHT, wanted), _shade(hue, saturation, DARK, wanted)


def _shade(hue: float, saturation: float, background: str, wanted: float) -> str:
    """The lightness of a hue, by bisection, that has the wanted contrast with the background."""
    near, far = (1.0, 0.0) if _luminance(background) > 0.5 else (0.0, 1.0)
    for _ in range(20):
        middle = (near + far) / 2
        near, far = (middle, far) if contrast(_hex(hue, middle, saturation), background) < wanted else (near, middle)
    return _hex(hue, far, saturation)


def _hex(hue: float, lightness: float, saturation: float) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue / 360, lightness, saturation))
