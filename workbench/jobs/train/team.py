"""The processes of one run as each of them sees the others, through torch.distributed. Knows no run and starts nobody.

Alone, everything here is done at once. What is not tensors of the model goes through gloo, also beside cards.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from workbench.models import device
from workbench.problems import UserError
from workbench.text import Text

HOST = "127.0.0.1"


class Say:
    too_few = Text(
        "{wanted} processes need a card each, and torch sees {found} of those that are chosen. Accepted: cards that this "
        "machine has. Choose other cards, or fewer processes."
    )


def rank() -> int:
    """Which of the processes this is, counted from 0; the first one speaks and saves."""
    import torch.distributed as dist

    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_initialized() else 1


def meet() -> None:
    """Wait until all processes are here."""
    summed([1])  # nobody has the sum before all have said theirs


def agreed(said: bool) -> bool:
    """What the first process says; the others' own view counts for nothing."""
    if size() == 1:
        return said
    import torch

    word = torch.tensor([int(said)])
    torch.distributed.broadcast(word, 0)
    return bool(word.item())


def summed(numbers: Sequence[int]) -> list[int]:
    """Each number summed over the processes."""
    if size() == 1:
        return list(numbers)
    import torch

    together = torch.tensor(list(numbers))
    torch.distributed.all_reduce(together)
    return [int(number) for number in together.tolist()]


def open_store(processes: int) -> Any:
    """Where the processes of a run find each other, on a free port of this machine. Held by the first process."""
    from torch.distributed import TCPStore

    return TCPStore(HOST, 0, processes, is_master=True, wait_for_workers=False)


def check_cards(processes: int) -> None:
    """UserError when there is not a card in sight for each process."""
    import torch

    found = torch.cuda.device_count()
    if processes > found:
        raise UserError(Say.too_few(wanted=processes, found=found), key="devices")


def join(place: int, processes: int, store: Any, timeout_s: int) -> None:
    """Become process ``place`` of so many, on the card of that number; UserError when there are too few cards."""
    import torch

    where = device()
    if where == "cuda":
        check_cards(processes)
        torch.cuda.set_device(place)
    torch.distributed.init_process_group(
        "cuda:nccl,cpu:gloo" if where == "cuda" else "gloo",
        store=store,
        rank=place,
        world_size=processes,
        timeout=timedelta(seconds=timeout_s),
    )


def leave() -> None:
    """Be alone again."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
