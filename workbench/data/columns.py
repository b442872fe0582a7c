"""What the columns and roles of a table seem to be, by their names and then by what they hold. Knows no format."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.formats import Row
from workbench.rows.roles import (
    ALSO,
    CONTENT_KEYS,
    KINDS,
    OPENAI_TAGS,
    ROLE_KEYS,
    ROLE_WORDS,
    SHAREGPT_TAGS,
)
from workbench.rows.values import TRUTH, digits, from_json

Holds = Literal["nothing", "messages", "pairs", "truth", "number", "text", "other"]
NAMES: Mapping[str, str] = {
    "messages": "messages conversations conversation dialogue dialog chat turns 对话 消息 会话 聊天记录",
    "chosen": "chosen chosen_messages preferred better accepted win 选中 优选 优选回答 更好 好回答 正例",
    "rejected": "rejected rejected_messages dispreferred worse lose 拒绝 拒绝回答 较差 更差 差回答 坏回答 负例",
    "kto_tag": "kto_tag label is_good desirable 标签 标注 好坏 是否合格",
    "prompt": "instruction prompt question query problem 问题 提问 指令 题目 提示 用户提问 user human q 问",
    "response": "output response answer completion reply target summary 答案 回答 输出 回复 响应 assistant gpt a 答",
    "system": "system system_prompt 系统 系统提示 系统提示词 人设 提示词",
    "query": "input context 输入 补充 背景 上下文",
    "history": "history 历史 历史对话 对话历史",
    "reasoning": "reasoning reasoning_content thinking thought cot complex_cot 思考 推理 思考过程 推理过程 思维链",
    "tools": "tools functions 工具",
    "images": "images image 图片",
    "videos": "videos video 视频",
    "audios": "audios audio 音频",
    "text": "text content raw_content passage article 文本 内容 正文",
}
"""Our names, in the order in which they take their columns, with what columns are called elsewhere."""
ALLOWED: Mapping[str, Sequence[Holds]] = {
    "messages": ("messages",),
    "chosen": ("text", "messages", "number"),
    "rejected": ("text", "messages", "number"),
    "kto_tag": ("truth",),
    "prompt": ("text", "messages", "number"),
    "response": ("text", "messages", "number"),
    "history": ("pairs", "nothing"),
    "query": ("text", "nothing", "number"),
    "system": ("text", "nothing"),
    "reasoning": ("text", "nothing"),
    "text": ("text",),
}
"""What a column with that name must hold; anything where nothing is said."""
ASIDE = (
    "id uuid idx index url source dataset category type lang language model date time timestamp score rating "
    "编号 序号 来源 类别 链接 日期"
)
"""Columns beside the matter, which are not taken for a question or an answer."""
SYSTEM_OR_PROMPT = "提示词"
FEW_ROLES = 8


@dataclass(frozen=True)
class Found:
    """A column of the file, and whether its name or only what it holds says what it is."""

    name: str
    by_name: bool = True


def plain_name(name: str) -> str:
    """A name in small letters without spaces and marks."""
    return re.sub(r"[\W_]+", "", name.lower())


def words_match(word: str, names: Sequence[str]) -> bool:
    """Whether one of the names is this word."""
    return any(plain_name(name) == plain_name(word) for name in names)


def columns_of(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Found]:
    """Our names with the columns that they seem to be."""
    holds = {name: held([row.get(name) for row in rows]) for name in names}
    found = _by_name(names, holds)
    if "prompt" not in found and "query" in found:
        found["prompt"] = found.pop("query")
    if "prompt" not in found and "system" in found and found["system"].name == SYSTEM_OR_PROMPT:
        found["prompt"] = found.pop("system")
    for ours, kind in (("messages", "messages"), ("history", "pairs"), ("kto_tag", "truth")):
        taken = {one.name for one in found.values()}
        rest = [name for name in names if name not in taken and holds[name] == kind]
        if ours not in found and rest and (ours != "kto_tag" or isinstance(_first(rows, rest[0]), bool)):
            found[ours] = Found(rest[0], by_name=False)
    _by_values(rows, names, holds, found)
    return found


def _by_name(names: Sequence[str], holds: Mapping[str, Holds]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    free = {plain_name(name): name for name in reversed(names)}
    for ours, words in NAMES.items():
        for word in words.split():
            name = free.get(plain_name(word))
            if name is not None and (ours not in ALLOWED or holds[name] in ALLOWED[ours]):
                found[ours] = Found(free.pop(plain_name(word)))
                break
    return found


def _by_values(rows: Sequence[Row], names: Sequence[str], holds: Mapping[str, Holds], found: dict[str, Found]) -> None:
    """Question, answer or text from the columns of text whose names say nothing."""
    taken = {one.name for ours, one in found.items() if ours != "text"}
    texts = [
        name for name in names if name not in taken and holds[name] == "text" and plain_name(name) not in ASIDE.split()
    ]
    ranked = "chosen" in found and "rejected" in found
    if "messages" in found or {"prompt", "response"} <= set(found) or not texts:
        return
    if ranked:
        if "prompt" not in found and holds[found["chosen"].name] == "text":
            found["prompt"] = Found(texts[0], by_name=False)
        return
    longest = max(texts, key=lambda name: sum(len(str(row.get(name) or "")) for row in rows))
    likely = found["text"].name if "text" in found else None
    if "prompt" in found and "response" not in found:
        found["response"] = Found(likely or longest, by_name=False)
    elif "response" in found and "prompt" not in found:
        found["prompt"] = Found(likely or texts[0], by_name=False)
    elif likely:
        found["text"] = Found(likely, by_name=texts == [likely])
    elif len(texts) > 1:
        found["response"] = Found(longest, by_name=False)
        found["prompt"] = Found(next(name for name in texts if name != longest), by_name=False)
    else:
        found["text"] = Found(longest, by_name=False)


def _first(rows: Sequence[Row], name: str) -> Any:
    return next((row[name] for row in rows if row.get(name) is not None), None)


def held(values: Sequence[Any]) -> Holds:
    """What most values of a column are."""
    kinds = Counter(kind for kind in map(_holds, values) if kind != "nothing")
    if not kinds:
        return "nothing"
    return kinds.most_common(1)[0][0]


def _holds(value: Any) -> Holds:
    if value is None or value == "" or value == []:
        return "nothing"
    inner = from_json(value)
    if isinstance(inner, list | dict):
        value = inner
    if isinstance(value, bool) or (isinstance(value, str | int | float) and str(value).strip().lower() in TRUTH):
        return "truth"
    if isinstance(value, str):
        return "text"
    if digits(value) is not None:
        return "number"
    items = [value] if isinstance(value, Mapping) else list(value) if isinstance(value, list | tuple) else []
    if items and all(isinstance(item, Mapping) and _keys([item])[0] for item in items):
        return "messages"
    if items and all(isinstance(item, list | tuple) for item in items):
        return "pairs"
    return "other"


def _keys(messages: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The keys of role and content; empty when they can't be told."""
    first = messages[0]
    role = next((key for key in ROLE_KEYS if isinstance(first.get(key), str)), "")
    content = next((key for key in (*CONTENT_KEYS, "tool_calls") if key != role and key in first), "")
    return (role, content) if role and content else ("", "")


def tags_of(rows: Sequence[Row], column: str) -> tuple[dict[str, str], list[str]]:
    """The tags of a column of messages, and the roles whose meaning was told only by their places."""
    talks = [_messages(row.get(column)) for row in rows]
    messages = [message for talk in talks for message in talk]
    keys = Counter(pair for pair in (_keys([message]) for message in messages) if pair[0] and pair[1] != "tool_calls")
    role, content = keys.most_common(1)[0][0] if keys else ("role", "content")
    tags = {**(SHAREGPT_TAGS if role == "from" else OPENAI_TAGS), "role_tag": role, "content_tag": content}
    words = Counter(message[role] for message in messages if isinstance(message.get(role), str))
    also = ALSO if role == "role" else {}
    strange = [word for word in words if word.strip().lower() not in ROLE_WORDS and word not in also]
    for kind in KINDS:
        meant = [word for word, _ in words.most_common() if ROLE_WORDS.get(word.strip().lower()) == kind]
        if meant and tags[f"{kind}_tag"] not in meant:
            tags[f"{kind}_tag"] = meant[0]
    if 0 < len(strange) <= FEW_ROLES:
        tags |= _by_place(talks, role, strange)
    return tags, strange


def _messages(value: Any) -> list[Mapping[str, Any]]:
    inner = from_json(value) if isinstance(value, str) else value
    items = [inner] if isinstance(inner, Mapping) else inner
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list | tuple) else []


def _by_place(talks: Sequence[Sequence[Mapping[str, Any]]], role: str, strange: Sequence[str]) -> dict[str, str]:
    """Tags for words that nobody knows: the first speaker asks, the next answers."""
    tags: dict[str, str] = {}
    for talk in talks:
        said = [message.get(role) for message in talk]
        spoken = [word for word in said if ROLE_WORDS.get(str(word).strip().lower()) != "system"]
        for place, tag in ((0, "user_tag"), (1, "assistant_tag")):
            word = spoken[place] if len(spoken) > place else None
            if word in strange and word not in tags.values():
                tags.setdefault(tag, str(word))
    return tags
