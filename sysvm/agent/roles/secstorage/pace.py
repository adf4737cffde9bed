"""Is a source stalled? Judged by bytes per window, never by total time. Sans-IO.

A window that brought fewer than `floor` bytes is a stall, so a source that drips one byte a second does not hold a slot for
ever, and a slow but steady one is left alone however long it takes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what."""

    window_s: float = 30.0
    floor: int = 32 * 1024  # bytes per window
    tries: int = 8  # in a row that brought nothing
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0

    @property
    def too_slow(self) -> str:
        """What a stall is called."""
        return f"the source stalled: less than {self.floor} bytes came in {self.window_s:g} s"

    def pause(self, failed: int) -> float:
        """How long to wait after the `failed`-th failure in a row."""
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** max(0, failed - 1))


class Pace:
    """Bytes of the current window."""

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._began = now
        self._bytes = 0

    def left(self, now: float) -> float:
        """Seconds until the window ends."""
        return max(0.0, self._began + self._patience.window_s - now)

    def took(self, size: int, now: float) -> bool:
        """`size` more bytes have come; False when the window that just ended was a stall."""
        self._bytes += size
        if now - self._began < self._patience.window_s:
            return True
        enough = self._bytes >= self._patience.floor
        self._began, self._bytes = now, 0
        return enough
