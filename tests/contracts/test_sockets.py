"""Sockets: whatever lies in a plugin's folder has the members that the folder's contract names, and keeps its promises."""

import inspect
from types import ModuleType

import pytest

from tests.contracts.sockets import SOCKETS, Socket, members
from workbench import exporters, formats
from workbench.fields import Section
from workbench.formats import Excluded, Sample
from workbench.sockets import plugin_names, plugins
from workbench.ui import tabs

PLUGINS = [
    pytest.param(socket, module, id=f"{socket.package.__name__.removeprefix('workbench.')}.{name}")
    for socket in SOCKETS
    for name, module in plugins(socket.package).items()
]
FORMATS = plugins(formats)


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda socket: socket.package.__name__)
def test_a_socket_says_what_a_plugin_is_and_has_some(socket: Socket) -> None:
    assert "To add one, write" in (socket.package.__doc__ or "")
    assert len(plugin_names(socket.package)) >= socket.least
    values, functions = members(socket.contract)
    assert values or functions


def test_the_exporters_socket_waits_for_its_first_plugin() -> None:
    assert plugin_names(exporters) == [], "add the Exporter protocol to SOCKETS"


@pytest.mark.parametrize(("socket", "module"), PLUGINS)
def test_a_plugin_has_the_members_of_its_contract(socket: Socket, module: ModuleType) -> None:
    values, functions = members(socket.contract)
    assert not values - set(vars(module)), "missing values"
    assert not set(functions) - set(vars(module)), "missing functions"
    for name, parameters in functions.items():
        assert list(inspect.signature(vars(module)[name]).parameters) == parameters, name


@pytest.mark.parametrize(("socket", "module"), PLUGINS)
def test_a_spec_is_a_titled_section(socket: Socket, module: ModuleType) -> None:
    if "Spec" not in members(socket.contract)[0]:
        return
    spec = vars(module)["Spec"]
    assert issubclass(spec, Section)
    assert spec.__doc__ and spec.__module__ == module.__name__


@pytest.mark.parametrize("name", FORMATS)
def test_exactly_one_format_matches_an_example(name: str) -> None:
    example = FORMATS[name].EXAMPLE
    assert [other for other, module in FORMATS.items() if module.matches(list(example))] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_an_example_becomes_a_conversation_that_ends_with_an_answer(name: str) -> None:
    module = FORMATS[name]
    sample = module.sample(module.EXAMPLE, module.COLUMNS)
    assert isinstance(sample, Sample)
    roles = [turn.role for turn in sample.turns if turn.role != "system"]
    assert roles and roles == ["user", "assistant"] * (len(roles) // 2)
    assert all(turn.content for turn in sample.turns)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_row_is_left_out_with_a_reason(name: str) -> None:
    left_out = FORMATS[name].sample({}, FORMATS[name].COLUMNS)
    assert isinstance(left_out, Excluded)
    assert str(left_out.reason)


def test_tabs_have_places_of_their_own_and_titles_that_translate() -> None:
    found = plugins(tabs).values()
    assert len({module.ORDER for module in found}) == len(found)
    assert all(module.TITLE.key.startswith("ui.tabs.") for module in found)
