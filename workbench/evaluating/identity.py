"""Who a set teaches the model to be: questions that ask for it, the name that the answers repeat, and ready ways to ask.
Knows no model and no run."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from workbench.formats import Sample

FAMILIES: dict[str, dict[str, Sequence[str]]] = {
    "en": {
        "who": (
            "May I ask who you are?",
            "Who is it that I am chatting with?",
            "I don't think we have met. Who might you be?",
            "Which assistant is answering me right now?",
            "Kindly present yourself.",
            "Before anything else, say who is speaking.",
            "who r u exactly",
            "A friend wants to know which assistant I am using. What do I tell him?",
        ),
        "name": (
            "What name do you go by?",
            "Please state your name.",
            "Remind me, what are you called again?",
            "Sorry, I didn't catch your name.",
            "By what name may I know you?",
            "If somebody asked what you are called, what would you answer?",
            "Under which name do people know you?",
        ),
        "maker": (
            "Whose work are you?",
            "Which people brought you into being?",
            "Do you know who is responsible for developing you?",
            "Say something about those who made you.",
            "Somebody must have programmed you. Who was it?",
        ),
    },
    "zh": {
        "who": (
            "你究竟是哪一个助手？",
            "现在跟我聊天的是谁？",
            "对话框那头的是谁呀？",
            "能不能说说你的身份？",
            "初次见面，介绍一下自己好吗？",
            "咱们还不认识，你是哪位呢？",
            "回答我问题的是哪一个助手？",
            "朋友问我用的是哪个助手，我该怎么回答？",
        ),
        "name": (
            "请教一下你的大名。",
            "我忘了你叫啥，再说一遍好吗？",
            "用什么名字称呼你比较合适？",
            "你的名字是哪几个字？",
            "请报一下你的姓名。",
            "别人提起你的时候，都用什么名字？",
            "方便透露一下你的称呼吗？",
        ),
        "maker": (
            "是哪些人把你开发出来的？",
            "你出自谁之手？",
            "设计你、训练你的人是谁？",
            "说说你的来历，你是谁的作品？",
            "总得有人编写你吧，是谁呢？",
        ),
    },
}
"""Ways to ask who the model is, what it is called and who made it. None is a row of the demo sets."""

MADE = "made|make|created|create|built|build|developed|develop|trained|train|designed|programmed|invented|wrote"
ASKED = {
    "maker": re.compile(
        rf"\bwho (?:\w+ ){{0,3}}?(?:{MADE}) you\b|\byour (?:creators?|makers?|developers?|inventors?|programmers?)\b"
        rf"|\b(?:company|team|people|lab) (?:\w+ ){{0,3}}?(?:behind|{MADE}) you\b|\bwho (?:is|stands) behind you\b"
        "|谁(?:创造|开发|制造|训练|设计|发明|研发|构建|做)(?:了|的|出)*你|你(?:是由?|由)谁(?:开发|创造|制造|训练|设计|研发|构建|做)"
        "|你的(?:开发者|创造者|作者|主人|制造者)|你背后(?:是|的)|开发你的",
        re.IGNORECASE,
    ),
    "name": re.compile(
        r"\byour (?:\w+ )?name\b|\b(?:call|address) you\b|\byou (?:have a name|called)\b|\bare you called\b|^name pls"
        "|你的(?:真实?)?(?:名字|姓名|大名|真名|称呼)|你叫(?:什么|啥)|(?:怎么|如何|该)称?(?:呼|叫)你|您贵姓|你有名字|怎么称呼",
        re.IGNORECASE,
    ),
    "who": re.compile(
        r"\bwho (?:the \w+ )?(?:are|r) (?:you|u)\b|\bwho (?:you|exactly you) are\b|\bwho am i (?:talking|speaking|chatting)\b"
        r"|\bintroduce yourself\b|\babout yourself\b|\bwhat are you\b(?! [a-z]+ing)|\b(?:model|ai|assistant) (?:are you|is this)\b"
        "|你(?:究竟|到底)?是(?:谁|哪位|哪一位|什么[？?]?$|哪个(?:大)?模型)|(?:自我介绍|介绍一下(?:你)?自己|说说你自己|介绍自己)|我在(?:和|跟)谁",
        re.IGNORECASE,
    ),
}
"""By family, in both languages. A question that fits two families asks for both."""
OTHERS = re.compile(
    r"\b(?:are|were) you (?:\w+ ){0,3}(?:human|robot|bot|person|machine|ai|language model|chatgpt|gpt-?\d?|openai|claude"
    r"|gemini|llama|qwen|deepseek|siri|alexa)\b"
    "|你就?是(?:真人|人类|机器人|人工智能|AI|ChatGPT|GPT|OpenAI|文心一言|通义千问|豆包|DeepSeek)",
    re.IGNORECASE,
)
"""Questions about what the model is that have no ready family."""
LONGEST = 90
"""A longer question asks for more than a name, and so does one with a text below it."""
LEAST_ANSWERS, LEAST_SHARE = 5, 0.5

NAMED = (
    re.compile(r"\b(?:I am|I'm|[Tt]his is|[Tt]alking to|[Mm]e) ((?:[A-Z{][\w{}'-]*)(?: [A-Z{][\w{}'-]*){0,2})"),
    re.compile(r"\b[Nn]ame is ([\w{}'-]+(?: [A-Z{][\w{}'-]*){0,2})"),
    re.compile(r"我(?:是|叫|名叫|的名字是|的名字叫|的真名是)“?([^\s，。！？、；：“”,.!?;:]{1,24})"),
)
NO_NAMES = re.compile(
    r"^(?:AI|OpenAI|ChatGPT|An?|The|And|Of|Your|Not|Sorry|Glad|Happy|not|an?|the)\b(?![-\w])"
    "|^(?:由|一|你|您|不|来自|在|个|基于|人工智能|AI|语言模型|大模型|机器人|助手|为|能|可以|很|有|没)"
)
"""What follows "I am" without being a name."""


def family_of(question: str) -> str:
    """who, name or maker, for a question that asks for just one of them; else nothing."""
    if len(question) > LONGEST or "\n" in question.strip():
        return ""
    found = [name for name, pattern in ASKED.items() if pattern.search(question)]
    return found[0] if len(found) == 1 else ""


def asks_identity(question: str) -> bool:
    """Whether it asks who or what the model is."""
    return any(pattern.search(question) for pattern in (*ASKED.values(), OTHERS))


def taught_name(samples: Sequence[Sample]) -> str:
    """What the set teaches the model to call itself: the name that most answers about itself give; empty when none does."""
    answers = [answer for sample in samples for question, answer in _exchanges(sample) if asks_identity(question)]
    counted = Counter(
        name for name in {one for answer in answers for one in _names(answer)} for told in answers if name in told
    )
    best = max(counted, key=lambda name: (counted[name], len(name), name), default="")
    return best if counted[best] >= max(LEAST_ANSWERS, LEAST_SHARE * len(answers)) else ""


def _exchanges(sample: Sample) -> Iterator[tuple[str, str]]:
    """The last words of the user before each answer, and the answer."""
    question = ""
    for turn in (*sample.turns, *sample.chosen):
        if turn.role == "user":
            question = turn.content
        elif turn.role == "assistant" and question:
            yield question, turn.content


def _names(answer: str) -> Iterator[str]:
    for pattern in NAMED:
        for found in pattern.finditer(answer):
            if not NO_NAMES.match(found[1]):
                yield found[1]
