"""Colour and marker of each prototype: the hue says the class, shade and marker say which one of the class."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from itertools import count

from ddcl_tab.interpret.report.svg import MARKERS

#: Backgrounds of the page in both schemes; style.css names the same.
LIGHT, DARK = "#ffffff", "#14181f"
#: Hue [deg] and saturation of the classes in turn: the first three are told apart by all common kinds of sight.
HUES = ((24, 0.85), (212, 0.75), (158, 0.85), (300, 0.45), (48, 0.95), (265, 0.55), (185, 0.85), (345, 0.75))
#: Contrast with the background of the shades of a class; graphics need 3:1 (WCAG 2.2, 1.4.11).
SHADES = (5.2, 3.2, 8.5)
#: Contrast of a class as a whole.
CLASS_CONTRAST = 4.8


@dataclass(frozen=True)
class Ink:
    """How a prototype or class is drawn.

    Attributes
    ----------
    light, dark : str
        Colours on a light and a dark page, ``#rrggbb``.
    marker : str
        One of :data:`ddcl_tab.interpret.report.svg.MARKERS`.
    """

    light: str
    dark: str
    marker: str


def class_inks(n_classes: int) -> list[Ink]:
    """One ink a class."""
    return [Ink(*_both(c, CLASS_CONTRAST), "dot") for c in range(n_classes)]


def prototype_inks(says: list[int]) -> list[Ink]:
    """One ink a prototype.

    Parameters
    ----------
    says : list of int
        Class of each prototype.

    Examples
    --------
    >>> first, second = prototype_inks([0, 0])
    >>> first == second
    False
    """
    seen: dict[int, count[int]] = {}
    inks, markers = [], list(MARKERS)
    for c in says:
        rank = next(seen.setdefault(c, count()))
        # Marker and shade change together, so that neighbours in rank differ in both.
        shade = SHADES[(rank + rank // len(markers)) % len(SHADES)]
        inks.append(Ink(*_both(c, shade), markers[rank % len(markers)]))
    return inks


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
