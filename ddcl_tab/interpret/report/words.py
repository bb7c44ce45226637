"""Numbers as a person reads them."""

from __future__ import annotations

import math

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


def span(low: float, high: float, unit: str) -> str:
    """An interval with its unit.

    Examples
    --------
    >>> span(761.2, 878.0, "km"), span(1968.0, 2008.0, "year"), span(-3.0, 12.0, "rev/day^2")
    ('761–878 km', '1968–2008', '−3 to 12 rev/day²')
    >>> span(53.0, 53.01, "deg")
    '53 deg'
    """
    if unit == "year":
        ends = [f"{low:.0f}", f"{high:.0f}"] if math.isfinite(low) else ["not known"] * 2
    else:
        ends = [number(low), number(high)]
    joint = " to " if low < 0 or any("×" in end for end in ends) else "–"
    text = ends[0] if ends[0] == ends[1] else joint.join(ends)
    return f"{text} {unit_words(unit)}".rstrip()


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


def _short(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
