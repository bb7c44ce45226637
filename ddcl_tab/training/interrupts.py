"""Ctrl-C in training: noted when it comes, raised between two steps."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class Interrupts:
    """Hold SIGINT back while in use, up to the next call of :meth:`check`; the second one is raised at once.

    Python raises KeyboardInterrupt wherever it happens to be. In a destructor or a callback from compiled code it would
    be printed and forgotten, and training would go on. Outside the main thread, or where SIGINT does something else,
    nothing is held back.

    Examples
    --------
    >>> before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    >>> with Interrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupts.take()
    True
    >>> _ = signal.signal(signal.SIGINT, before)
    """

    def __enter__(self) -> Self:
        self._pending = False
        self._holds = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._holds:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Hold back no longer; raises what has come since the last check."""
        if self._holds:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a SIGINT has come."""
        if self.take():
            raise KeyboardInterrupt

    def take(self) -> bool:
        """Whether a SIGINT has come; it counts as answered."""
        pending, self._pending = self._pending, False
        return pending

    def _note(self, number: int, frame: Any) -> None:
        if self._pending:
            self.check()
        self._pending = True
