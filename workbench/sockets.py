"""A folder in which one file is one plugin, with no list to edit. Knows no plugin by name."""

import importlib
import pkgutil
from types import ModuleType


def plugins(package: ModuleType) -> dict[str, ModuleType]:
    """Every module of the package by its name, in alphabetical order."""
    return {name: importlib.import_module(f"{package.__name__}.{name}") for name in plugin_names(package)}


def plugin_names(package: ModuleType) -> list[str]:
    """The names of the package's modules, without importing them."""
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__))
