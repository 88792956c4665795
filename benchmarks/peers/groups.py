"""Errors that a nursery has put into a group, for callers that know of no nursery. Pure."""


def single(group: BaseExceptionGroup) -> BaseException:
    """The one error in it; itself when there are several."""
    if len(group.exceptions) > 1:
        return group
    inner = group.exceptions[0]
    return single(inner) if isinstance(inner, BaseExceptionGroup) else inner
