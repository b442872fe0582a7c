"""How Gradio is imported here: without what an editor alone needs. Knows no tab.

For each of its components Gradio 6.31 reads and parses its own source at every start and compares it with a file of signatures for
editors beside it (``component_meta.create_or_modify_pyi``): a third of the time that its import takes.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PLACE, NAME = "gradio.component_meta", "create_or_modify_pyi"


class WithoutSignatures(MetaPathFinder):
    """Finds that one module as Python does, and has it write no signatures. Where it has none, as in another release, it stays."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != PLACE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader: Any = spec.loader if spec else None
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if hasattr(module, NAME):
                    setattr(module, NAME, lambda *_: None)

            loader.exec_module = exec_module
        return spec


if PLACE not in sys.modules:
    sys.meta_path.insert(0, WithoutSignatures())
