"""Object classes of other catalogs on ours: PAYLOAD, ROCKET BODY, DEBRIS, UNKNOWN."""

from __future__ import annotations

import polars as pl

from ddcl_tab.errors import CatalogError

DISCOS_TYPES: dict[str, str] = {
    "Payload": "PAYLOAD",
    "Payload Mission Related Object": "DEBRIS",
    "Payload Fragmentation Debris": "DEBRIS",
    "Payload Debris": "DEBRIS",
    "Rocket Body": "ROCKET BODY",
    "Rocket Mission Related Object": "DEBRIS",
    "Rocket Fragmentation Debris": "DEBRIS",
    "Rocket Debris": "DEBRIS",
    "Other Mission Related Object": "DEBRIS",
    "Other Debris": "DEBRIS",
    "Unknown": "UNKNOWN",
}
"""``objectClass`` of ESA's DISCOSweb -> OBJECT_TYPE. Covers, adapters and other mission-related objects are DEBRIS, as
they are in the SATCAT."""

GCAT_TYPES: dict[str, str] = {
    "P": "PAYLOAD",
    "S": "PAYLOAD",
    "R": "ROCKET BODY",
    "C": "DEBRIS",
    "D": "DEBRIS",
    "X": "UNKNOWN",
    "Z": "UNKNOWN",
}
"""First letter of GCAT's SatType -> OBJECT_TYPE: payload, suborbital payload, launch vehicle stage, component,
fragmentation debris, deleted entry, spurious entry. Components are DEBRIS, as they are in the SATCAT."""


def object_types_of_discos(classes: pl.Series) -> pl.Series:
    """OBJECT_TYPE of each DISCOS object class.

    Parameters
    ----------
    classes : polars.Series of str or categories
        ``objectClass`` of DISCOSweb, in any case; null means unknown.

    Returns
    -------
    polars.Series of str
        PAYLOAD, ROCKET BODY, DEBRIS or UNKNOWN; the name is OBJECT_TYPE.

    Raises
    ------
    CatalogError
        A class that DISCOS does not have.

    Notes
    -----
    ESA DISCOSweb, attribute ``objectClass`` of ``/api/objects``.

    Examples
    --------
    >>> object_types_of_discos(pl.Series(["Payload", "Rocket Mission Related Object", None])).to_list()
    ['PAYLOAD', 'DEBRIS', 'UNKNOWN']
    """
    known = {name.lower(): kind for name, kind in DISCOS_TYPES.items()}
    text = classes.cast(pl.String).fill_null("Unknown").str.strip_chars().str.to_lowercase()
    kinds = text.replace_strict(known, default=None, return_dtype=pl.String).alias("OBJECT_TYPE")
    if kinds.null_count():
        place = kinds.is_null().arg_true()[0]
        raise CatalogError(
            f"a DISCOS object class is one of {', '.join(DISCOS_TYPES)}",
            line=place + 1,
            column=classes.name or None,
            value=classes[place],
            remedy="Map it by hand, or ask DISCOS what it means.",
        )
    return kinds
