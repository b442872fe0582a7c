"""What a model becomes: one file is one exporter. Knows models, no page, no run and no proof.

To add one, write ``exporters/x.py`` with ``Spec``, ``needs(spec, source)`` and ``export(spec, source, folder)``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field

from workbench.engines import Opening
from workbench.fields import Section, Ui


class ExporterSpec(Section):
    """What every exporter's Spec is: a section with the exporter's own fields and its name."""

    export_format: str


class ShardedSpec(ExporterSpec):
    """What the Spec of an exporter is that writes a folder of weights."""

    export_size: Annotated[float, Field(gt=0, le=1000), Ui("Size of a shard")] = 5.0
    """Largest file of weights, in GB (1e9 bytes). Usual: 2 to 5."""


@dataclass(frozen=True)
class Trained:
    """What was trained: an adapter's folder, or a whole model's, and how strongly it counts."""

    folder: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Source:
    """What is taken home."""

    opening: Opening
    """The base, its tokenizer with the chat template of the training, its ends of turn; ``progress`` hears bytes done, and
    raises where somebody asked to stop."""
    trained: Sequence[Trained]
    """Adapters in the order given, or one whole model; empty: the base alone."""
    name: str
    """What it will be called: the name of the folder."""
    texts: Callable[[str], Iterator[str]] = lambda given: iter(())
    """Texts as the model reads them, of a set of Data by its name, or of a file with texts; UserError at the call for what is
    neither."""


@dataclass(frozen=True)
class Bounds:
    """How far answers may differ from those of the training side."""

    least_same: float
    """Share of answers' tokens, 0 to 1, that are the likeliest there too; 1: the texts are the same."""
    most_divergence: float
    """Mean Kullback-Leibler divergence from the training side's next-token probabilities, in nats."""


EXACT = Bounds(1.0, 1e-4)
"""Weights of the same precision: only the order of additions differs."""


@dataclass(frozen=True)
class Made:
    """What an export has left, and how it is loaded to be proved."""

    engine: str
    """The engine that loads it, by its name."""
    model: Path | None
    """Inside the export's folder: what is loaded; ``Path()`` for the folder itself, None for the base."""
    adapter: Path | None
    """Inside the export's folder: an adapter that is loaded over ``model``."""
    bounds: Bounds
    original: bool = False
    """Whether the base's own weights are in it, though the adapters may have learned over fewer bits."""


class Exporter(Protocol):
    """The members of an exporter's module."""

    Spec: type[ExporterSpec]
    """Its fields, with ``export_format: Literal["x"] = "x"``."""

    def needs(self, spec: Any, source: Source) -> int:
        """Bytes that it will write; UserError, before any work, by name for what can't be exported so."""

    def export(self, spec: Any, source: Source, folder: Path) -> Made:
        """Write into the folder, which is empty and becomes the export's once all is there."""
