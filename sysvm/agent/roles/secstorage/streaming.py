"""The bytes of an answer as they come, under the eye of its pace: a source that stalls is a source that has failed."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from sysvm.agent.roles.secstorage.fetch import SourceFailed
from sysvm.agent.roles.secstorage.pace import Pace, Patience
from sysvm.agent.roles.secstorage.reaching import Answer


async def pieces(response: Answer, patience: Patience) -> AsyncIterator[bytes]:
    """Until the end; raises SourceFailed when it stalls or breaks."""
    now = asyncio.get_running_loop().time
    pace = Pace(patience, now())
    while True:
        try:
            async with asyncio.timeout(pace.left(now()) + 0.001):
                piece = await response.content.readany()
        except TimeoutError:
            if not pace.took(0, now()):
                raise SourceFailed(patience.too_slow) from None
            continue
        except (aiohttp.ClientError, OSError) as error:
            raise SourceFailed(f"the connection broke: {error or type(error).__name__}") from error
        if not piece:
            return
        yield piece
        if not pace.took(len(piece), now()):
            raise SourceFailed(patience.too_slow)
