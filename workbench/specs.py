"""Everything about a run: sections, and the choices among plugins. Knows no plugin by name and no run.

Flat outside, sections inside: in a file, on a command line and in the preview a spec is one flat mapping under the
fields' standard names; in code it is ``spec.optim.learning_rate``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, cast

import yaml
from pydantic import Field, ValidationError

from workbench import engines, exporters, stages, tuning
from workbench.evaluating.section import EvaluatingSection, ReportSection
from workbench.exporting.section import ExportSection
from workbench.fields import Knob, Section, Ui, plain, problems_of, read_value, section_knobs
from workbench.problems import Problem, UserError, first_line
from workbench.sections import (
    DataSection,
    DrawingSection,
    MemorySection,
    ModelSection,
    OptimSection,
    PlaceSection,
    SavingSection,
    ServingSection,
    SetsSection,
    SharingSection,
)
from workbench.sockets import plugins
from workbench.text import Message, Text
from workbench.tutorials import translate

VERSION = 1


class Say:
    unknown = Text("Unknown key '{given}'. Nearest known key: {nearest}. Rename it or take it out.")
    unknown_far = Text("Unknown key '{given}', and no known key is near it. Take it out; --help lists them all.")
    unknown_choice = Text("{key} is '{given}'. Accepted: one of {choices}. Choose one of these.")
    not_used = Text("'{key}' has no effect: {choice} '{chosen}' does not use it.")
    idle = Text("'{key}: {given}' has no effect: it counts only where '{other}' is {values}.")
    not_mapping = Text("The spec is {given}. Accepted: lines of 'key: value'. See examples/quickstart.yaml.")
    bad_yaml = Text("The spec is not YAML: line {line}, column {column}: {reason}. Mend that line.")
    twice = Text("The key '{key}' stands in line {first} and again in line {line}. Accepted: once. Take one out.")
    newer = Text("The spec has version {given}. Accepted: up to {known}. Update the workbench to read it.")
    other_job = Text("The spec is for '{given}'. Accepted here: '{wanted}'. Choose a spec of that kind.")


if TYPE_CHECKING:
    StageChoice = stages.StageSpec
    TuningChoice = tuning.TuningSpec
    EngineChoice = engines.EngineSpec
    ExporterChoice = exporters.ExporterSpec
else:

    def _choice(package, key):
        specs = [module.Spec for module in plugins(package).values()]
        return specs[0] if len(specs) == 1 else Annotated[reduce(or_, specs), Field(discriminator=key)]

    StageChoice = _choice(stages, "stage")
    TuningChoice = _choice(tuning, "finetuning_type")
    EngineChoice = _choice(engines, "infer_backend")
    ExporterChoice = _choice(exporters, "export_format")


CHOICE_WORDS: Mapping[str, Ui] = {
    "stage": Ui("Stage", simple=True),
    "finetuning_type": Ui("Method", simple=True),
    "infer_backend": Ui("Engine"),
    "export_format": Ui("Format", simple=True),
}
CHOICE_HELP: Mapping[str, str] = {
    "stage": "How the model learns. sft: from questions and answers; pt: from running text; dpo and kto: from better and "
    "worse answers; rm: to score answers; ppo and grpo: from rewards.",
    "finetuning_type": "Which weights move. lora: a small adapter beside frozen weights; full: all of them.",
    "infer_backend": "Who answers. transformers: the model itself; llamacpp: llama.cpp, usually faster without a card; vllm and "
    "sglang: where installed; remote: a server elsewhere; auto: what suits the machine; echo: repeats the question.",
    "export_format": "What the model becomes. merged: a folder of its own with base and adapters in one; adapter: what was trained "
    "alone; gguf: one file for llama.cpp, Ollama and LM Studio; quantized: a folder of 4 or 8 bits.",
}


class Spec(Section):
    """A whole spec: sections and plugin choices by place, one flat mapping outside."""

    JOB: ClassVar[str] = ""
    CHOICES: ClassVar[Mapping[str, Any]] = {}
    """Places that hold a choice among plugins: the place's name to (package, key that names the plugin)."""
    PLACE: ClassVar[str] = ""
    """The place whose section says where the run lies; empty: nobody may choose."""

    def kept_in(self) -> PlaceSection | None:
        """Where the run is to lie, where somebody may choose."""
        return cast(PlaceSection, self.__dict__[self.PLACE]) if self.PLACE else None

    @classmethod
    @cache
    def knobs(cls) -> Mapping[str, Knob]:
        """Every field by its flat key, in the order of declaration, those of all plugins included."""
        found: dict[str, Knob] = {}
        for place, info in cls.model_fields.items():
            if place not in cls.CHOICES:
                found |= {knob.key: knob for knob in section_knobs(cast(type[Section], info.annotation), place)}
                continue
            package, key = cls.CHOICES[place]
            found[key] = _choice_knob(place, key, list(plugins(package)), info.get_default(call_default_factory=True))
            for name, module in plugins(package).items():
                for knob in section_knobs(module.Spec, place, name):
                    same = found.get(knob.key)
                    found[knob.key] = replace(same, owners=(*same.owners, name)) if same else knob
        return found

    def flat(self) -> dict[str, Any]:
        """All values under their flat keys, in the order of declaration."""
        values: dict[str, Any] = {}
        for place in type(self).model_fields:
            section = self.__dict__[place]
            values |= {key: section.__dict__[key] for key in type(section).model_fields}
        return values

    def to_yaml(self) -> str:
        """The spec as a file: version and job first, then every value, since defaults change."""
        head = {"version": VERSION, "job": self.JOB}
        return yaml.safe_dump({**head, **self.flat()}, allow_unicode=True, sort_keys=False, width=120)


def _choice_knob(place: str, key: str, names: list[str], default: Section) -> Knob:
    return Knob(
        key=key,
        place=place,
        plugin=None,
        section="Method",
        ui=CHOICE_WORDS[key],
        help=CHOICE_HELP[key],
        kind="choice",
        optional=False,
        default=default.__dict__[key],
        choices=tuple(names),
    )


class TrainSpec(Spec):
    """Train"""

    JOB: ClassVar[str] = "train"
    CHOICES: ClassVar[Mapping[str, Any]] = {"stage": (stages, "stage"), "tuning": (tuning, "finetuning_type")}
    PLACE: ClassVar[str] = "saving"

    model: ModelSection = ModelSection()
    stage: StageChoice = Field(default_factory=lambda: plugins(stages)["sft"].Spec())
    tuning: TuningChoice = Field(default_factory=lambda: plugins(tuning)["lora"].Spec())
    data: DataSection = DataSection()
    optim: OptimSection = OptimSection()
    memory: MemorySection = MemorySection()
    sharing: SharingSection = SharingSection()
    saving: SavingSection = SavingSection()


class MeasureSpec(TrainSpec):
    """Measure"""

    JOB: ClassVar[str] = "measure"


class EvalSpec(Spec):
    """Evaluate"""

    JOB: ClassVar[str] = "evaluate"
    CHOICES: ClassVar[Mapping[str, Any]] = {"engine": (engines, "infer_backend")}
    PLACE: ClassVar[str] = "place"

    model: ModelSection = ModelSection()
    sets: SetsSection = SetsSection()
    evaluating: EvaluatingSection = EvaluatingSection()
    engine: EngineChoice = Field(default_factory=lambda: plugins(engines)["transformers"].Spec())
    drawing: DrawingSection = DrawingSection()
    place: PlaceSection = PlaceSection()


class ReportSpec(Spec):
    """Report"""

    JOB: ClassVar[str] = "report"

    report: ReportSection = ReportSection()


class ExportSpec(Spec):
    """Export"""

    JOB: ClassVar[str] = "export"
    CHOICES: ClassVar[Mapping[str, Any]] = {"exporter": (exporters, "export_format")}
    PLACE: ClassVar[str] = "place"

    model: ModelSection = ModelSection()
    exporter: ExporterChoice = Field(default_factory=lambda: plugins(exporters)["merged"].Spec())
    exporting: ExportSection = ExportSection()
    place: PlaceSection = PlaceSection()


class ServeSpec(Spec):
    """Serve"""

    JOB: ClassVar[str] = "serve"
    CHOICES: ClassVar[Mapping[str, Any]] = {"engine": (engines, "infer_backend")}

    model: ModelSection = ModelSection()
    engine: EngineChoice = Field(default_factory=lambda: plugins(engines)["transformers"].Spec())
    serving: ServingSection = ServingSection()


SPECS: Mapping[str, type[Spec]] = {spec.JOB: spec for spec in (TrainSpec, MeasureSpec, EvalSpec, ReportSpec, ExportSpec, ServeSpec)}
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Reading(Generic[S]):
    """What came of reading a spec: the spec, or the problems in its way; warnings either way."""

    spec: S | None
    problems: Sequence[Problem] = ()
    warnings: Sequence[Message] = ()

    def unwrap(self) -> S:
        """The spec, or UserError with every problem."""
        if self.spec is None:
            raise UserError(*self.problems)
        return self.spec


def read_flat(kind: type[S], given: Mapping[str, Any]) -> Reading[S]:
    """A spec from a flat mapping; all problems at once, each with its key."""
    values = dict(given)
    version, job = values.pop("version", VERSION), values.pop("job", kind.JOB)
    if plain(version) != plain(VERSION):
        return Reading(None, [Problem(Say.newer(given=plain(version), known=VERSION), "version")])
    if job != kind.JOB:
        return Reading(None, [Problem(Say.other_job(given=plain(job), wanted=kind.JOB), "job")])
    knobs = kind.knobs()
    values, problems, warnings = translate(values, knobs)
    problems += [_unknown(key, knobs) for key in values if key not in knobs]
    values = {key: read_value(knobs[key], value) for key, value in values.items() if key in knobs}
    chosen, wrong = _chosen(kind, values)
    nested: dict[str, dict[str, Any]] = {place: {key: name} for place, (key, name) in chosen.items()}
    for key, value in values.items():
        knob = knobs[key]
        if knob.owners and chosen[knob.place][1] not in knob.owners:
            choice, name = chosen[knob.place]
            warnings.append(Say.not_used(key=key, choice=choice, chosen=name))
        elif key not in wrong:
            nested.setdefault(knob.place, {})[key] = value
    try:
        spec = kind.model_validate(nested)
    except ValidationError as error:
        return Reading(None, [*problems, *wrong.values(), *problems_of(error, dict(knobs))], warnings)
    problems += wrong.values()
    warnings += _idle(spec, values, knobs)
    return Reading(None if problems else spec, problems, warnings)


def _idle(spec: Spec, given: Mapping[str, Any], knobs: Mapping[str, Knob]) -> Iterator[Message]:
    """A word for each field that was given and has no effect beside the others, unless it says what happens anyway."""
    flat = spec.flat()
    for key in given:
        knob = knobs[key]
        if key in flat and not knob.applies(flat) and flat[key] != knob.default:
            other, *values = knob.ui.when
            yield Say.idle(key=key, given=plain(flat[key]), other=other, values=", ".join(values))


def _chosen(kind: type[Spec], values: Mapping[str, Any]) -> tuple[dict[str, tuple[str, str]], dict[str, Problem]]:
    """For each place of a choice its key and the plugin chosen; a name that is no plugin is a problem."""
    chosen, wrong = {}, {}
    for place, (package, key) in kind.CHOICES.items():
        knob = kind.knobs()[key]
        name = values.get(key, knob.default)
        if not isinstance(name, str) or name not in plugins(package):
            choices = ", ".join(knob.choices)
            wrong[key] = Problem(Say.unknown_choice(key=key, given=plain(name), choices=choices), key)
            name = knob.default
        chosen[place] = (key, name)
    return chosen, wrong


def _unknown(key: str, knobs: Mapping[str, Knob]) -> Problem:
    nearest = get_close_matches(key, knobs, 1, 0.6)
    message = Say.unknown(given=key, nearest=nearest[0]) if nearest else Say.unknown_far(given=key)
    return Problem(message, key)


def read_yaml(kind: type[S], text: str) -> Reading[S]:
    """A spec from the text of a file."""
    values = yaml_mapping(text)
    return Reading(None, [values]) if isinstance(values, Problem) else read_flat(kind, values)


class _Loader(yaml.SafeLoader):
    """YAML without dates, since a run may be called 2026-01-01, and without a key that stands twice."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if str(key.value) in seen:
                said = Say.twice(key=str(key.value), first=seen[str(key.value)], line=key.start_mark.line + 1)
                raise UserError(said)
            seen[str(key.value)] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def yaml_mapping(text: str) -> dict[str, Any] | Problem:
    """The flat mapping of a spec file, or why it is none."""
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except UserError as error:
        return error.problems[0]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        return Problem(Say.bad_yaml(line=line, column=column, reason=error.problem or ""))
    except (yaml.YAMLError, RecursionError) as error:
        return Problem(Say.bad_yaml(line=0, column=0, reason=first_line(error)))
    if not isinstance(data, dict):
        return Problem(Say.not_mapping(given=f"{type(data).__name__} {plain(data)}"))
    return {str(key): value for key, value in data.items()}
