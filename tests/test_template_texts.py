"""The literal text of every chat template for system, question and answer, and for a question, a call and its result."""

import pytest

from tests.templates import BOS, EOS, NAMES, Messages, conversation, render

CHATML = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
LLAMA3 = (
    "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>"
    "\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
)
GRANITE = (
    "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Q<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>A<|end_of_text|>\n"
)
COHERE = (
    "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Q"
    "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>A"
)
SEED = "<[begin▁of▁sentence]>{}\n{}<[end▁of▁sentence]>"
NOTHING = "<think>\n\n</think>\n\n"
LITERAL = {
    "alpaca": f"S### Instruction:\nQ\n\n### Response:\nA{EOS}\n\n",
    "aquila": "System: S###Human: Q###Assistant:A###",
    "baichuan": f"S<reserved_102>Q<reserved_103>A{EOS}",
    "baichuan2": f"S<reserved_106>Q<reserved_107>A{EOS}",
    "bluelm": f"S[|Human|]:Q[|AI|]:A{EOS}",
    "chatglm2": f"[gMASK]sopS[Round 1]\n\n问：Q\n\n答：A{EOS}\n\n",
    "chatglm3": "[gMASK]sop<|system|>\nS<|user|>\nQ<|assistant|>\nA<|user|>",
    "cohere": f"{BOS}{COHERE}{EOS}",
    "deepseek": f"{BOS}S\n\nUser: Q\n\nAssistant:A{EOS}",
    "deepseek3": f"{BOS}S<｜User｜>Q<｜Assistant｜>A{EOS}",
    "deepseekcoder": f"{BOS}S### Instruction:\nQ\n### Response:\nA\n<|EOT|>\n",
    "deepseekr1": f"{BOS}S<｜User｜>Q<｜Assistant｜>{NOTHING}A{EOS}",
    "default": f"System: S{EOS}\nHuman: Q{EOS}\nAssistant:A{EOS}\n",
    "empty": "SQA",
    "ernie": CHATML.replace("<|im_end|>\n", "<|im_end|>\n\n").replace("\nA<", f"\n{NOTHING}A<"),
    "ernie_nothink": "<|begin_of_sentence|>S\nUser: Q\nAssistant: A<|end_of_sentence|>",
    "exaone": f"[|system|]S[|endofturn|]\n[|user|]Q\n[|assistant|]A{EOS}\n",
    "falcon": f"SUser: Q\nFalcon:A{EOS}\n",
    "fewshot": f"SQA{EOS}\n\n",
    "gemma": f"{BOS}<start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n",
    "glm4": "[gMASK]<sop><|system|>\nS<|user|>\nQ<|assistant|>\nA<|user|>",
    "glm4_moe": f"[gMASK]<sop><|system|>\nS<|user|>\nQ<|assistant|>\n{NOTHING}A<|user|>",
    "granite3": GRANITE,
    "granite4": GRANITE,
    "hunyuan": "<|startoftext|>S<|extra_4|>Q<|extra_0|>A<|eos|>",
    "index": f"<unk>Sreserved_0Qreserved_1A{EOS}",
    "internlm2": BOS + CHATML,
    "llama2": f"{BOS}[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]A{EOS}",
    "llama2_zh": f"{BOS}[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]A{EOS}",
    "llama3": BOS + LLAMA3,
    "llama3.1": BOS
    + LLAMA3.replace("\n\nS", "\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nS"),
    "llama4": BOS
    + LLAMA3.replace("_id|>", "|>")
    .replace("<|start_header|>", "<|header_start|>")
    .replace("<|end_header|>", "<|header_end|>"),
    "ministral": f"{BOS}[INST]S\n\nQ[/INST]A{EOS}",
    "mistral": f"{BOS}[INST] S\n\nQ[/INST] A{EOS}",
    "mistral_small": f"{BOS}[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]Q[/INST]A{EOS}",
    "moonlight": "<|im_system|>system<|im_middle|>S<|im_end|><|im_user|>user<|im_middle|>Q<|im_end|>"
    "<|im_assistant|>assistant<|im_middle|>A<|im_end|>",
    "olmo": f"{EOS}S<|user|>\nQ<|assistant|>\nA{EOS}",
    "openchat": f"{BOS}SGPT4 Correct User: Q{EOS}GPT4 Correct Assistant:A{EOS}",
    "openchat-3.6": f"{BOS}S<|start_header_id|>GPT4 Correct User<|end_header_id|>\n\nQ<|eot_id|>"
    "<|start_header_id|>GPT4 Correct Assistant<|end_header_id|>\n\nA<|eot_id|>",
    "orion": f"{BOS}SHuman: Q\n\nAssistant: {EOS}A{EOS}",
    "phi": "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n",
    "phi_small": "<|endoftext|><|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n",
    "phi4": "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>Q<|im_end|>"
    "<|im_start|>assistant<|im_sep|>A<|im_end|>",
    "phi4_mini": "<|system|>S<|end|><|user|>Q<|end|><|assistant|>A<|end|>",
    "sailor": CHATML.replace("start|>user", "start|>question").replace("start|>assistant", "start|>answer"),
    "seed_coder": SEED.format("system", "S") + SEED.format("user", "Q") + f"<[begin▁of▁sentence]>assistant\nA{EOS}",
    "solar": f"### System:\nS\n\n### User:\nQ\n\n### Assistant:\nA{EOS}",
    "starchat": "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>A<|end|>\n",
    "telechat2": f"<_system>S<_user>Q<_bot>A{EOS}",
    "vicuna": f"SUSER: Q ASSISTANT:A{EOS}",
    "xuanyuan": f"SHuman: Q Assistant:A{EOS}",
    "xverse": f"SHuman: Q\n\nAssistant: A{EOS}",
    "yi_vl": f"S### Human: Q\n### Assistant:A{EOS}",
    "yuan": "SQ<sep>A<eod>\n",
    "zephyr": f"<|system|>\nS{EOS}<|user|>\nQ{EOS}<|assistant|>\nA{EOS}",
}
LITERAL |= dict.fromkeys(
    ["chatml", "chatml_de", "qwen", "qwen3_nothink", "yi", "smollm", "smollm2", "opencoder"], CHATML
)
LITERAL |= dict.fromkeys(["qwen3", "mimo"], CHATML.replace("\nA<", f"\n{NOTHING}A<"))


def test_the_literal_text_of_every_template() -> None:
    assert set(LITERAL) == set(NAMES)
    for name, text in LITERAL.items():
        assert render(name, conversation("S", "Q", "A"))[0] == text, name


CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": "é", "n": [1]}}}
USE: Messages = [
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "R"},
    {"role": "assistant", "content": "A"},
]
CALLED = '{"name": "f", "arguments": {"a": "é", "n": [1]}}'
ACTION = 'Action: f\nAction Input: {"a": "é", "n": [1]}'
IM = "<|im_start|>{}\n{}<|im_end|>\n"
ANSWERED = IM.format("assistant", "A")
LLAMA_CALL = CALLED.replace("arguments", "parameters")
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>"
USED = {
    "default": f"Human: Q{EOS}\nAssistant:{ACTION}{EOS}\nHuman: R{EOS}\nAssistant:A{EOS}\n",
    "chatml": IM.format("user", "Q") + IM.format("assistant", ACTION) + IM.format("tool", "R") + ANSWERED,
    "yi": IM.format("user", "Q") + IM.format("assistant", ACTION) + IM.format("user", "R") + ANSWERED,
    "qwen3_nothink": IM.format("user", "Q")
    + IM.format("assistant", f"<tool_call>\n{CALLED}\n</tool_call>")
    + IM.format("user", "<tool_response>\nR\n</tool_response>")
    + ANSWERED,
    "llama3": BOS
    + HEAD.format("user", "Q")
    + HEAD.format("assistant", LLAMA_CALL)
    + HEAD.format("ipython", "R")
    + HEAD.format("assistant", "A"),
    "mistral": f'{BOS}[INST] Q[/INST][TOOL_CALLS] [{CALLED}]{EOS}[TOOL_RESULTS] {{"content": R}}[/TOOL_RESULTS] A{EOS}',
    "ministral": f'{BOS}[INST]Q[/INST][TOOL_CALLS][{CALLED}]{EOS}[TOOL_RESULTS]{{"content": R}}[/TOOL_RESULTS]A{EOS}',
    "mistral_small": f"{BOS}[INST]Q[/INST][TOOL_CALLS][{CALLED}]{EOS}"
    f'[TOOL_RESULTS]{{"content": R}}[/TOOL_RESULTS]A{EOS}',
    "gemma": f"{BOS}<start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n{ACTION}<end_of_turn>\n"
    "<start_of_turn>tool\nR<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n",
    "glm4": '[gMASK]<sop><|user|>\nQ<|assistant|>f\n{"a": "é", "n": [1]}<|observation|>\nR<|assistant|>\nA<|user|>',
    "glm4_moe": "[gMASK]<sop><|user|>\nQ<|assistant|>\n\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>é</arg_value>\n"
    "<arg_key>n</arg_key>\n<arg_value>[1]</arg_value>\n</tool_call><|observation|>\nR<|assistant|>\n"
    f"{NOTHING}A<|user|>",
    "phi4_mini": f"<|user|>Q<|end|><|assistant|><|tool_call|>[{CALLED}]<|/tool_call|><|end|><|user|>R<|end|>"
    "<|assistant|>A<|end|>",
}


@pytest.mark.parametrize("name", USED)
def test_the_literal_text_of_a_call_and_its_result(name: str) -> None:
    assert render(name, USE)[0] == USED[name]


def test_tools_as_mistral_and_glm_and_phi_take_them() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    listed = '[{"type": "function", "function": {"name": "f", "parameters": {}}}]'
    asked = conversation(None, "Q")
    assert (
        render("mistral", asked, tools=[tool])[0] == f"{BOS}[AVAILABLE_TOOLS] {listed}[/AVAILABLE_TOOLS][INST] Q[/INST]"
    )
    assert render("phi4_mini", asked, tools=[tool])[0] == f"<|system|><|tool|>{listed}<|/tool|><|end|><|user|>Q<|end|>"
    assert '\n\n## f\n\n{\n    "name": "f",\n    "parameters": {}\n}\n' in render("glm4", asked, tools=[tool])[0]
    assert render("llama3", asked, tools=[tool])[0].startswith(
        f"{BOS}<|start_header_id|>system<|end_header_id|>\n\nYou have access to the following functions."
    )
    assert render("default", conversation("S", "Q"), tools=[tool])[0] == (
        "System: S\n\nThese tools can be used:\n\nName: f\nDescription: \nArguments: {}\n\n"
        "To use one, answer with two lines and wait for its result; for several, write more such pairs:\n"
        f"Action: the name of the tool\nAction Input: its arguments as a JSON object\n{EOS}\nHuman: Q{EOS}\n"
    )
