"""Every recipe of docs/adding.md is a complete plugin that fits its socket."""

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.contracts.sockets import SOCKETS, members
from tests.contracts.tree import ROOT
from workbench.fields import section_knobs
from workbench.formats import Layout
from workbench.sockets import plugin_names

RECIPE = re.compile(r"```python\n# workbench/(\S+)/(\w+)\.py\n(.*?)```", re.DOTALL)


def recipes() -> list[tuple[str, str, str]]:
    """Socket, name and text of every complete plugin of docs/adding.md."""
    return RECIPE.findall((ROOT / "docs/adding.md").read_text("utf-8"))


def written(folder: Path, socket: str, name: str, text: str) -> ModuleType:
    """The recipe as a module, from a file, since docstrings of fields are read from there."""
    path = folder / f"{name}.py"
    path.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location(f"workbench.{socket.replace('/', '.')}.{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_socket_has_a_recipe() -> None:
    sockets = {socket.package.__name__.removeprefix("workbench.").replace(".", "/") for socket in SOCKETS}
    assert {socket for socket, _, _ in recipes()} == sockets


@pytest.mark.parametrize(("socket", "name", "text"), recipes(), ids=lambda part: part if len(part) < 20 else "")
def test_a_recipe_is_a_plugin_that_fits_its_socket(socket: str, name: str, text: str, tmp_path: Path) -> None:
    module = written(tmp_path, socket, name, text)
    found = next(one for one in SOCKETS if one.package.__name__ == f"workbench.{socket.replace('/', '.')}")
    assert name not in plugin_names(found.package), "the recipe has come true: choose another"
    values, functions = members(found.contract)
    assert not (values | set(functions)) - set(vars(module))
    for function, parameters in functions.items():
        assert list(inspect.signature(vars(module)[function]).parameters) == parameters
    if "Spec" in values:
        assert list(section_knobs(module.Spec, "place", name)) is not None
        assert module.Spec().model_dump()
    if socket == "formats":
        assert module.matches(list(module.EXAMPLE))
        sample = module.sample(module.EXAMPLE, Layout(module.COLUMNS, module.TAGS))
        assert sample.turns[-1].role == "assistant"
