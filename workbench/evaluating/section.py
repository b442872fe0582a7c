"""The fields of an evaluation that no other spec has. Knows no metric and no benchmark by name."""

from typing import Annotated

from pydantic import Field

from workbench.fields import Section, Ui


class EvaluatingSection(Section):
    """Evaluation"""

    compare_base: Annotated[bool, Ui("Beside the base model", simple=True)] = True
    """Ask the base model the same and say what training changed. It counts where an adapter or a trained model is chosen."""
    metrics: Annotated[list[str], Ui("Metrics", widget="metrics")] = []
    """Which scores the answers get against the set's own ones. Empty: those that fit the set."""
    measure_loss: Annotated[bool, Ui("Loss")] = True
    """Measure how likely the models find the set's own answers. Off: only their own answers are scored, which is sooner done."""
    own_checks: Annotated[list[str], Ui("Own checks", widget="lines")] = []
    """What an answer must be, one a line: contains WORD, not_contains WORD, equals TEXT, regex PATTERN, number 1..10,
    json_schema SCHEMA. Usual: none."""
    task: Annotated[list[str], Ui("Benchmarks", simple=True, widget="benchmarks")] = []
    """Tasks of lm-evaluation-harness by name, such as mmlu or gsm8k; everyday_en and everyday_zh come with the workbench.
    'Max samples' holds for each of their parts."""
    n_shot: Annotated[int | None, Field(ge=0, le=100), Ui("Examples before a question")] = None
    """How many solved questions a benchmark shows first. Empty: as the task itself says. Usual: 0 or 5."""
    judge_url: Annotated[str, Ui("Judge's address")] = ""
    """An OpenAI-compatible server, such as http://127.0.0.1:8000/v1. A key is taken from the variable JUDGE_API_KEY."""
    judge_model: Annotated[str, Ui("Judge's model")] = ""
    """The name of the judging model on that server."""
    do_sample: Annotated[bool, Ui("Draw at random")] = False
    """Answers are drawn with temperature and top-p. Off: always the likeliest word, so that a model keeps its score."""


class ReportSection(Section):
    """Report"""

    report_run: Annotated[str, Ui("Run", simple=True, widget="run")] = ""
    """The finished run to report on, by its folder or name."""
    report_rows: Annotated[int, Field(ge=4, le=1000), Ui("Rows to ask", simple=True)] = 24
    """How many rows of each kind are asked: held out, learned, in other words. More is surer and takes longer. Usual: 24."""
    report_suite: Annotated[bool, Ui("Everyday questions", simple=True)] = True
    """Ask base and tuned the everyday questions that come with the workbench, in the languages of the set."""
    identity_questions: Annotated[list[str], Ui("Further questions of identity", widget="lines")] = []
    """More ways to ask the model who it is, one a line. They count like the built-in ones."""
    paraphrase_url: Annotated[str, Ui("Other words by")] = ""
    """A server of any OpenAI-compatible model that puts learned questions in other words, such as http://127.0.0.1:8000/v1.
    Empty: rules do. A key is taken from the variable PARAPHRASE_API_KEY."""
    paraphrase_model: Annotated[str, Ui("Its model")] = ""
    """The name of the model on that server."""
    report_lang: Annotated[str, Field(min_length=1), Ui("Language of the report")] = "en"
    """In which language report.md is written: the name of a file in locales/. report.json can be read in any."""
