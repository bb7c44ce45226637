"""Exception and warning types: every error a user can cause is a ``DDCLTabError``; and what messages ask.

All of them are also ``ValueError``, ``RuntimeError`` or ``OSError``, so code that knows nothing of this package still
catches them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DDCLTabError(Exception):
    """Base of all errors raised on purpose by this package."""


class CatalogError(DDCLTabError, ValueError):
    """A catalog file or one of its values breaks a rule.

    Parameters
    ----------
    rule : str
        The rule that was broken, as a sentence: ``"ECCENTRICITY is in [0, 1)"``.
    file, line, column, value : optional
        Where it stands and what stood there; ``line`` counts from 1 in text files and is the record number
        (from 1) in JSON arrays.
    remedy : str, optional
        What to change.

    Examples
    --------
    >>> str(CatalogError("INCLINATION is in [0, 180] deg", file="a.csv", line=3, column="INCLINATION", value="181"))
    "a.csv, line 3, column INCLINATION: value '181' breaks the rule: INCLINATION is in [0, 180] deg"
    """

    def __init__(
        self,
        rule: str,
        *,
        file: object = None,
        line: int | None = None,
        column: str | None = None,
        value: object = None,
        remedy: str | None = None,
    ) -> None:
        self.rule, self.file, self.line, self.column, self.value, self.remedy = rule, file, line, column, value, remedy
        place = ", ".join(
            part
            for part in (
                str(file) if file is not None else "",
                f"line {line}" if line is not None else "",
                f"column {column}" if column is not None else "",
            )
            if part
        )
        said = f"value {value!r} breaks the rule: {rule}" if value is not None else rule
        message = f"{place}: {said}" if place else said
        super().__init__(f"{message}. {remedy}" if remedy else message)

    def __reduce__(self) -> tuple:
        fields = {name: getattr(self, name) for name in ("file", "line", "column", "value", "remedy")}
        return _rebuild_catalog_error, (self.rule, fields)


def _rebuild_catalog_error(rule: str, fields: dict) -> CatalogError:
    return CatalogError(rule, **fields)


class ConfigurationError(DDCLTabError, ValueError):
    """One or more parameters break their rules; the message lists all of them."""


class InputError(DDCLTabError, ValueError):
    """The table handed to ``fit`` or ``predict`` cannot be used as it is."""


class ColumnTypeError(InputError, TypeError):
    """A column of Python objects holds something that is neither number, text nor date, or mixes them."""


class ModelFileError(DDCLTabError, ValueError):
    """A model file is foreign, damaged or of a version that this package does not read."""


class CheckpointError(DDCLTabError, ValueError):
    """A checkpoint cannot be gone on with: foreign, damaged, or of a training with other rows, settings or versions."""


class WriteError(DDCLTabError, OSError):
    """A file could not be written; what stood under its name is as it was."""


class TrainingError(DDCLTabError, RuntimeError):
    """Training could not go on (for example the loss is no longer finite)."""


class FetchError(DDCLTabError, RuntimeError):
    """A catalog could not be fetched; the message says from where, why, what is cached, and when to ask again."""


class StabilityWarning(UserWarning):
    """A condition of sound training failed; the message says which, when, by how much, and what to change."""


class CatalogWarning(UserWarning):
    """A catalog lacks something that later steps need; the message says what does not work without it."""


class LeakWarning(UserWarning):
    """Columns that give the class away were left out of the features."""


class FamilyContextWarning(UserWarning):
    """Rows are of families, such as launches, of which no other member is known: what it would say is missing."""


class FetchWarning(UserWarning):
    """A fetched catalog is not what was asked for in full: the cache stands in, or rows of it break rules."""


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """A question after a name that the user typed and that is not known; nothing where no known name is near.

    Parameters
    ----------
    typed : str
    known : iterable of str
        Names that exist.

    Examples
    --------
    >>> did_you_mean("object_typ", ["OBJECT_ID", "OBJECT_TYPE"]), did_you_mean("x", ["OBJECT_ID"])
    ('. Did you mean OBJECT_TYPE?', '')
    """
    names = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(typed.casefold(), names, n=1)
    return f". Did you mean {names[near[0]]}?" if near else ""
