"""Ending connections."""

import asyncio
from contextlib import suppress


def cut(transport: asyncio.WriteTransport) -> None:
    """Ends now, with whatever could not be written.

    So does one that has ended by itself: TLS of Debian 12's Python (3.11.2) forgets its protocol then, and asks it to abort.
    """
    with suppress(AttributeError):
        transport.abort()
