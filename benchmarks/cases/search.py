"""How the end of what a bridge carries is found, on a machine where single turns go wrong."""

from collections.abc import Awaitable, Callable

TURNS = 3


async def mostly(turn: Callable[[], Awaitable[bool]], turns: int = TURNS) -> bool:
    """Whether most of so many turns go well; none is made that decides nothing."""
    well = badly = 0
    while max(well, badly) <= turns // 2:
        if await turn():
            well += 1
        else:
            badly += 1
    return well > badly
