"""The sockets of the house: each folder of plugins, its contract, and how many plugins there are at least."""

import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from workbench import checks, engines, exporters, formats, jobs, metrics, stages, tables, tuning
from workbench.cli import commands
from workbench.text import Text
from workbench.ui import tabs


@dataclass(frozen=True)
class Socket:
    """A folder of plugins, its contract, and how many plugins there are at least."""

    package: ModuleType
    contract: type[Any]
    least: int


class Tab:
    """What ui/tabs asks for in its docstring."""

    ORDER: int
    FIRST: bool
    TITLE: Text

    def build(self, desk: Any) -> None: ...


SOCKETS = [
    Socket(stages, stages.Stage, 1),
    Socket(tuning, tuning.Tuning, 1),
    Socket(formats, formats.Format, 7),
    Socket(tables, tables.Table, 5),
    Socket(checks, checks.Check, 15),
    Socket(metrics, metrics.Metric, 9),
    Socket(engines, engines.EngineModule, 2),
    Socket(exporters, exporters.Exporter, 2),
    Socket(jobs, jobs.Job, 2),
    Socket(commands, commands.Command, 5),
    Socket(tabs, Tab, 3),
]


def members(contract: type[Any]) -> tuple[set[str], dict[str, list[str]]]:
    """The values and the functions that a contract names, functions with the names of their parameters."""
    functions = {
        name: [parameter for parameter in inspect.signature(member).parameters if parameter != "self"]
        for name, member in vars(contract).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    return set(contract.__annotations__), functions
