"""Another way to compute a part of a model, taken up where it gives the same. Knows no part."""

from typing import Any


def taken_up(part: Any, other: type[Any], tried: Any) -> bool:
    """Let a module be of another class; whether it stays so: only if it then gives the same for ``tried``, up to rounding."""
    import torch

    kind: Any = type(part)
    with torch.no_grad():
        try:
            own = part(tried)
        except TypeError:  # a module that takes more than one input
            return False
        part.__class__ = other
        found = part(tried)
    if own.dtype == found.dtype and (own - found).norm() <= 4 * torch.finfo(own.dtype).eps * own.norm():
        return True
    part.__class__ = kind
    return False
