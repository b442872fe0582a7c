"""Sockets: whatever lies in a plugin's folder has the members that the folder's contract names, and keeps its promises."""

import inspect
from types import ModuleType

import pytest

from tests.contracts.sockets import SOCKETS, Socket, members
from workbench import formats
from workbench.fields import Section
from workbench.formats import COLUMN_NAMES, TAG_NAMES, Fault, Layout, Sample
from workbench.rows.order import misplaced
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


def usual(name: str) -> Layout:
    """The layout of a set that names nothing itself."""
    return Layout(FORMATS[name].COLUMNS, FORMATS[name].TAGS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_reads_columns_and_tags_that_a_set_may_name(name: str) -> None:
    assert FORMATS[name].COLUMNS and set(FORMATS[name].COLUMNS) <= set(COLUMN_NAMES)
    assert set(FORMATS[name].TAGS) in (set(), set(TAG_NAMES))


def test_every_shape_has_a_format() -> None:
    samples = [module.sample(module.EXAMPLE, usual(name)) for name, module in FORMATS.items()]
    assert {sample.shape for sample in samples} == {"dialogue", "preference", "label", "text"}


@pytest.mark.parametrize("name", FORMATS)
def test_an_example_becomes_a_sample_whose_turns_can_be_learned(name: str) -> None:
    sample = FORMATS[name].sample(FORMATS[name].EXAMPLE, usual(name))
    assert isinstance(sample, Sample)
    roles = [turn.role for turn in sample.turns]
    if sample.shape == "text":
        assert sample.text and not sample.turns
    elif sample.shape == "preference":
        assert misplaced(roles, "question") is None
        for answer in (sample.chosen, sample.rejected):
            assert misplaced([turn.role for turn in answer], "answer") is None
    else:
        assert misplaced(roles) is None
        assert (sample.label is None) == (sample.shape == "dialogue")
    assert all(turn.content or turn.tool_calls for turn in (*sample.turns, *sample.chosen, *sample.rejected))


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_row_is_a_fault_with_a_reason(name: str) -> None:
    for ranking in (False, True):
        fault = FORMATS[name].sample({}, Layout(FORMATS[name].COLUMNS, FORMATS[name].TAGS, ranking))
        assert isinstance(fault, Fault)
        assert fault.mend is None and "{" not in str(fault.reason)


def test_tabs_have_places_of_their_own_and_titles_that_translate() -> None:
    found = plugins(tabs).values()
    assert len({module.ORDER for module in found}) == len(found)
    assert sum(module.FIRST for module in found) == 1
    assert all(module.TITLE.key.startswith("ui.tabs.") for module in found)
