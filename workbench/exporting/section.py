"""What every export is told, whatever the model becomes."""

from typing import Annotated

from pydantic import Field

from workbench.fields import Section, Ui


class ExportSection(Section):
    """Export"""

    export_dir: Annotated[str, Ui("Folder", simple=True)] = ""
    """Where the export goes: a name for a folder inside models/, or a path inside the workspace. Empty: named after the
    run and the format."""
    overwrite_export_dir: Annotated[bool, Ui("Overwrite the folder")] = False
    """Replace what lies in the folder, and a model of that name in Ollama. Off: a folder that is not empty is left alone, and so
    is such a model."""
    adapter_weights: Annotated[list[float], Ui("Weights of the adapters")] = []
    """How strongly each adapter counts, in their order. Empty: each fully, 1."""
    proof_prompts: Annotated[list[str], Field(max_length=50), Ui("Prompts of the proof", widget="lines")] = []
    """What is asked of the model before and after, one prompt a line. Empty: ten rows that the run held out, else learned."""
    proof_tokens: Annotated[int, Field(ge=4, le=1024), Ui("Tokens per answer")] = 64
    """Most tokens of an answer in the proof."""
    system_prompt: Annotated[str, Ui("System prompt in Ollama")] = ""
    """Written into the Modelfile, so that Ollama says it to the model first. Empty: none."""
    ollama_name: Annotated[str, Ui("Create in Ollama")] = ""
    """Create the model under this name in the Ollama that runs on this machine, and ask it one question. Empty: don't."""
    ollama_url: Annotated[str, Ui("Address of Ollama")] = "http://127.0.0.1:11434"
    """Where Ollama listens."""
    lm_studio: Annotated[bool, Ui("LM Studio")] = False
    """Lay a GGUF file out as LM Studio wants its models: publisher/model/file.gguf inside the export's folder."""
    export_hub_model_id: Annotated[str, Ui("Push to the hub")] = ""
    """Push the export to this repository, owner/name, of the chosen hub. The token is read from the environment
    (HF_TOKEN or MODELSCOPE_API_TOKEN), never from here. Empty: don't."""
    export_hub_private: Annotated[bool, Ui("Private repository")] = True
    """The pushed repository is seen by you alone."""
