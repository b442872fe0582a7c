"""An evaluation's answers and scores under LLaMA-Factory's names of files and fields. Knows no engine and no page."""

import json
from collections.abc import Mapping, Sequence

from workbench.evaluating.llamafactory_figures import figures
from workbench.evaluating.records import BASE, TUNED, UNANSWERED
from workbench.evaluating.results import Sample

PREDICTIONS, FIGURES = "generated_predictions", "predict_results"


def files(samples: Sequence[Sample], labels: Sequence[str], seconds: Mapping[str, float]) -> dict[str, str]:
    """File names and texts: those of the tuned model, or of the only one, bear LLaMA-Factory's names; those of the base
    beside it end in _base. A question without an answer has an empty one here and does not count in the means.

    ``seconds``: what the asking of all questions took, by model; without it nothing is said of speed.
    """
    found: dict[str, str] = {}
    for label in labels if samples else ():
        end = f"_{BASE}" if label == BASE and TUNED in labels else ""
        found[f"{PREDICTIONS}{end}.jsonl"] = "".join(_line(one, label) for one in samples)
        answered = [one for one in samples if one.said[label].finish != UNANSWERED]
        means = figures([(one.said[label].answer, one.question.reference) for one in answered])
        took = seconds.get(label, 0.0)
        speed = {"predict_runtime": round(took, 4)} if took else {}
        if took:
            speed["predict_samples_per_second"] = round(len(samples) / took, 3)
        found[f"{FIGURES}{end}.json"] = json.dumps({**means, **speed}, indent=4) + "\n"
    return found


def _line(sample: Sample, label: str) -> str:
    prompt = "\n".join(str(one.get("content") or "") for one in sample.question.messages)
    held = {"prompt": prompt, "predict": sample.said[label].answer, "label": sample.question.reference}
    return json.dumps(held, ensure_ascii=False) + "\n"
