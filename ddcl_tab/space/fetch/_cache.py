"""The cache: one file per query, and beside it what is known of it and of the requests that were sent for it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ddcl_tab._files import remove_leftovers, write_whole
from ddcl_tab.errors import FetchError
from ddcl_tab.space.fetch._http import need

CACHE_ENV = "DDCL_TAB_CACHE"
_VERSION = 1


@dataclass(frozen=True)
class Stored:
    """One whole answer."""

    sha256: str
    rows: int
    bad_rows: int
    retrieved_at: float
    url: str


@dataclass
class State:
    """What is known of a query.

    Attributes
    ----------
    stored : list of Stored
        The last answer and the one before: which of them the file holds, its hash says. So a process may die between
        writing the one and the other.
    sent : list of float
        Times of requests that brought no whole answer yet.
    settled_at, wait_s : float
        When the server last gave a whole answer, good or bad, and how long it is left in peace since.
    refusal : str or None
        What was wrong with that answer.
    """

    stored: list[Stored] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    settled_at: float = 0.0
    wait_s: float = 0.0
    refusal: str | None = None

    def settle(self, wait_s: float, refusal: str | None = None) -> None:
        """Note a whole answer: for `wait_s` seconds from now nothing is asked."""
        self.settled_at, self.wait_s, self.refusal = time.time(), wait_s, refusal
        self.sent = []

    def asked_again_at(self) -> float:
        """Time before which nothing is asked (s since 1970); 0 where asking is free."""
        # A time far in the future comes from a clock that was wrong: it must not forbid asking for years.
        return self.settled_at + self.wait_s if abs(time.time() - self.settled_at) < self.wait_s else 0.0

    def sent_within(self, seconds: float) -> list[float]:
        """Times of the requests without a whole answer in the last `seconds`."""
        now = time.time()
        return [sent for sent in self.sent if abs(now - sent) < seconds]


class Entry:
    """Files of one query; hold `lock` while using it.

    Parameters
    ----------
    folder : Path
        Made where it does not exist, for its user only: Space-Track's data must not be passed on.
    name : str
        Name of the answer's file.

    Raises
    ------
    FetchError
        The folder cannot be made or written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.path, self.new_path, self.state_path, self.lock_path = (
            folder / f"{name}{end}" for end in ("", ".new", ".state.json", ".lock")
        )

    def recover(self, state: State) -> None:
        """Finish what a process that died between its note and the new file's name left; remove half-written notes."""
        remove_leftovers(self.state_path)
        self.path.with_name(f"{self.path.name}.part").unlink(missing_ok=True)  # earlier versions resumed downloads
        if state.stored and self.new_path.is_file() and sha256(self.new_path) == state.stored[0].sha256:
            replace_durably(self.new_path, self.path)

    def current(self, state: State) -> Stored | None:
        """What the file holds; None where it is absent, or is not what was fetched."""
        if not self.path.is_file():
            return None
        digest = sha256(self.path)
        return next((stored for stored in state.stored if stored.sha256 == digest), None)

    def load(self) -> State:
        """State as last saved; a fresh one where there is none.

        Raises
        ------
        FetchError
            A state file that cannot be read: forgetting when the server was asked could get this machine blocked.
        """
        try:
            data = json.loads(self.state_path.read_bytes())
            if data.pop("version") != _VERSION:
                raise ValueError("another version")
            data["stored"] = [Stored(**stored) for stored in data["stored"]]
            data.pop("part", None)  # of earlier versions
            state = State(**data)
            _ = (
                state.settled_at + state.wait_s + sum(state.sent),
                [stored.retrieved_at + 0 for stored in state.stored],
            )
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FetchError(
                f"{self.state_path}: the note of when this was last asked is damaged ({type(error).__name__}). "
                "Delete it once two hours have passed since the last request"
            ) from error
        return state

    def save(self, state: State) -> None:
        """Write the state, whole or not at all."""
        write_whole(self.state_path, json.dumps({"version": _VERSION, **asdict(state)}, indent=1))

    def note_request(self, state: State) -> None:
        """Note a request before it is sent: a process that dies must not forget that it asked."""
        state.sent.append(time.time())
        self.save(state)

    def store(self, state: State, stored: Stored, wait_s: float) -> None:
        """Replace the file by the new one, and note it."""
        current = self.current(state)
        state.stored = [stored] if current is None else [stored, current]
        state.settle(wait_s)
        sync(self.new_path)
        self.save(state)
        replace_durably(self.new_path, self.path)


def cache_folder() -> Path:
    """Folder of the cache, made where it does not exist: `DDCL_TAB_CACHE`, or where the system keeps caches.

    Returns
    -------
    Path

    Raises
    ------
    FetchError
        It cannot be made or written.
    """
    folder = Path(os.environ.get(CACHE_ENV) or need("platformdirs").user_cache_dir("ddcl-tab", appauthor=False))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise FetchError(f"{folder}: no folder for the cache: {error.strerror}. Set {CACHE_ENV} to another") from error
    if not writable:
        raise FetchError(f"{folder}: the cache cannot be written. Set {CACHE_ENV} to another folder")
    return folder


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_durably(new: Path, path: Path) -> None:
    """Rename once the bytes are on the disk, so that no crash leaves an empty file under the name."""
    sync(new)
    new.replace(path)
    if hasattr(os, "O_DIRECTORY"):  # elsewhere folders cannot be synced
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sync(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
