"""OFT: orthogonal turns of the weights, learned block by block (arXiv 2306.07280). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.adapting import adapted, targets, task_of, transposed, whole_modules
from workbench.fields import Ui
from workbench.problems import Problem
from workbench.text import Text
from workbench.tuning import AdapterSpec


class Say:
    one_of_two = Text(
        "OFT rank is {rank} and OFT block size is {size}. Accepted: one of them above 0, the other 0. Set one to 0."
    )


class Spec(AdapterSpec):
    """OFT"""

    QUANTISED: ClassVar[bool] = True

    finetuning_type: Literal["oft"] = "oft"
    oft_block_size: Annotated[int, Field(ge=0, le=4096), Ui("OFT block size", simple=True)] = 32
    """Inputs that are turned together: more can learn more. It must divide each layer's inputs. 0: by the rank."""
    oft_rank: Annotated[int, Field(ge=0, le=4096), Ui("OFT rank")] = 0
    """Number of blocks in each layer, in place of the block size. 0: by the block size."""
    module_dropout: Annotated[float, Field(ge=0, lt=1), Ui("OFT dropout")] = 0.0
    """Share of the blocks that is left unturned at random while training. Usual: 0 to 0.1."""
    oft_target: Annotated[list[str], Field(min_length=1), Ui("OFT modules")] = ["all"]
    """Modules that get an adapter, by name, such as q_proj,v_proj; all means every linear layer. Usual: all."""

    def problems(self, quantised: bool, adapters: int) -> list[Problem]:
        found = super().problems(quantised, adapters)
        if bool(self.oft_rank) == bool(self.oft_block_size):
            found.append(Problem(Say.one_of_two(rank=self.oft_rank, size=self.oft_block_size), "oft_block_size"))
        return found


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel of which the turns alone are trainable."""
    from peft import OFTConfig

    config = OFTConfig(
        task_type=task_of(model),
        modules_to_save=whole_modules(model, spec.additional_target),
        r=spec.oft_rank,
        oft_block_size=spec.oft_block_size,
        module_dropout=spec.module_dropout,
        target_modules=targets(model, spec.oft_target, "oft_target"),
        fan_in_fan_out=transposed(model),
    )
    return adapted(model, config, adapters, spec.create_new_adapter)
