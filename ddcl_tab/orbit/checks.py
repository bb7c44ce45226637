"""Check inputs of the orbit functions: numbers in range, NaN for missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddcl_tab.errors import ConfigurationError

FloatArray = NDArray[np.float64]


def checked(name: str, value: ArrayLike, rule: str, valid: NDArray[np.bool_] | np.bool_) -> FloatArray:
    """Return the value as float64, or raise with the first value that is neither valid nor missing.

    Parameters
    ----------
    name : str
        Name of the quantity, for the message.
    value : array_like
        Values, any shape.
    rule : str
        The rule as the end of a sentence: ``"is in [0, 1)"``.
    valid : ndarray of bool, same shape
        Where the rule holds.

    Returns
    -------
    ndarray of float64, same shape

    Raises
    ------
    ConfigurationError
        Naming quantity, rule, value and index.

    Examples
    --------
    >>> checked("eccentricity", [0.1, 1.2], "is in [0, 1)", np.array([True, False]))
    Traceback (most recent call last):
    ddcl_tab.errors.ConfigurationError: eccentricity is in [0, 1), but value 1.2 at index 1 is not
    """
    numbers = np.asarray(value, dtype=np.float64)
    wrong = np.argwhere(~(valid | np.isnan(numbers)))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        place = f" at index {index[0] if len(index) == 1 else index}" if index else ""
        raise ConfigurationError(f"{name} {rule}, but value {float(numbers[index])}{place} is not")
    return numbers


def as_numbers(name: str, value: ArrayLike) -> FloatArray:
    """Values as float64; raises ConfigurationError for anything that is no number."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} is made of numbers: {error}") from None


def positive(name: str, value: ArrayLike) -> FloatArray:
    """Values above zero and finite, or missing."""
    numbers = as_numbers(name, value)
    return checked(name, numbers, "is positive and finite", (numbers > 0) & (numbers < np.inf))


def valid_eccentricity(value: ArrayLike) -> FloatArray:
    """Eccentricities of closed orbits, or missing."""
    numbers = as_numbers("eccentricity", value)
    return checked("eccentricity", numbers, "is in [0, 1)", (numbers >= 0) & (numbers < 1))


def inclination_rad(inclination_deg: ArrayLike) -> FloatArray:
    """Inclinations in radians, from degrees in [0, 180], or missing."""
    numbers = as_numbers("inclination_deg", inclination_deg)
    return np.radians(checked("inclination_deg", numbers, "is in [0, 180]", (numbers >= 0) & (numbers <= 180)))
