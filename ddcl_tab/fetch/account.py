"""The Space-Track account: from the environment or netrc, and nowhere else."""

from __future__ import annotations

import netrc
import os
from dataclasses import dataclass, field
from pathlib import Path

from ddcl_tab.errors import ConfigurationError

IDENTITY_ENV, PASSWORD_ENV = "SPACETRACK_IDENTITY", "SPACETRACK_PASSWORD"


@dataclass(frozen=True)
class Account:
    """User and password; neither shows in its text."""

    identity: str = field(repr=False)
    password: str = field(repr=False)


def find_account(host: str) -> Account:
    """Account for a host: both variables of the environment, else the host's line in ``~/.netrc``.

    There is no option for it: arguments of a process can be read by every user of a machine.

    Parameters
    ----------
    host : str

    Returns
    -------
    Account

    Raises
    ------
    ConfigurationError
        None is there, one of the variables is missing, or netrc cannot be read; the message holds none of its words.
    """
    identity, password = os.environ.get(IDENTITY_ENV), os.environ.get(PASSWORD_ENV)
    if identity and password:
        return Account(identity, password)
    if identity or password:
        missing = PASSWORD_ENV if identity else IDENTITY_ENV
        raise ConfigurationError(f"{missing} is not set, but the other half of the account is. Set both or neither")
    found = _from_netrc(host)
    if found is None:
        raise ConfigurationError(
            f"Space-Track needs an account (free, from www.space-track.org): set {IDENTITY_ENV} and {PASSWORD_ENV}, "
            f"or write 'machine {host} login NAME password SECRET' into ~/.netrc"
        )
    return found


def _from_netrc(host: str) -> Account | None:
    path = Path.home() / ".netrc"
    line: int | None = None
    try:
        found = netrc.netrc().authenticators(host) if path.is_file() else None
    except netrc.NetrcParseError as error:
        line = error.lineno or 0  # its message may quote the password
    except (OSError, ValueError):
        line = 0
    if line is not None:
        place = f", line {line}" if line else ""
        raise ConfigurationError(
            f"{path}{place}: netrc cannot be read. Correct it, and let nobody else read it (chmod 600)"
        )
    return Account(found[0], found[2]) if found and found[0] and found[2] else None
