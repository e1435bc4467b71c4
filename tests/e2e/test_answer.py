"""Reading answers: what a template renders for an assistant turn is read back as that turn, however the text is cut."""

import random

import pytest
import text_tool
from conftest import SHARED
from test_template_jinja2 import BASE, ENV, TOOL, check, expected_of, user

TEMPLATES = SHARED / "vectors" / "templates"
NESTED = {
    "city": "Paris",
    "n": 3,
    "f": -1.5,
    "on": True,
    "none": None,
    "l": [1, "two", {"a": [True]}],
    "o": {"k": "v, w}", "e": {}},
}
STRINGS = {"city": "New York", "q": "a < b && \"c\" {d} [e]\nline\ttab \u00e9\u65e5\U0001f600 </x>"}

# template, thoughts are rendered, text before calls is rendered, several calls are, what arguments it can carry
FAMILIES = {
    "Qwen-Qwen3-0.6B": (True, True, True, NESTED),
    "Qwen3.5-4B": (True, True, True, NESTED),
    "Qwen3-Coder": (False, True, True, NESTED),
    "ibm-granite-granite-4.0": (False, False, True, NESTED),
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": (False, False, True, NESTED),
    "meta-llama-Llama-3.2-3B-Instruct": (False, False, False, NESTED),
    "google-gemma-4-31B-it": (True, False, True, NESTED),
    "google-gemma-4-31B-it-interleaved": (True, False, True, NESTED),
    "mistralai-Mistral-Nemo-Instruct-2407": (False, False, True, NESTED),
    "Qwen-Qwen2.5-7B-Instruct": (False, True, True, NESTED),
}
ENDS = ["<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "</s>", "<turn|>", "<|tool_response>"]


def source_of(name):
    if not TEMPLATES.is_dir():
        pytest.skip("the real templates are not in the tree")
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


def pieces_of(text, seed):
    """The same text: whole, by characters, and cut at random."""
    rng = random.Random(seed)
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(8)) if text else []
    return [[text], list(text), [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)]) if a < b]]


def rendered_answer(source, turn, tools):
    """What the template writes for the turn: the text behind the prompt, up to the end token."""
    base = {"bos_token": "<s>", "eos_token": "</s>", "tools": tools, "enable_thinking": True}
    prompt = ENV.from_string(source).render(messages=[user("hi")], add_generation_prompt=True, **base)
    whole = ENV.from_string(source).render(messages=[user("hi"), turn], add_generation_prompt=False, **base)
    assert whole.startswith(prompt)
    text = whole[len(prompt) :]
    for end in ENDS:
        text = text.split(end)[0]
    return prompt, text


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("case", ["call", "strings", "two_calls", "text_and_call", "thought_and_call", "no_arguments"])
def test_round_trip(name, case):
    thinks, speaks, many, nested = FAMILIES[name]
    arguments = [STRINGS] if case == "strings" else [{}] if case == "no_arguments" else [nested]
    if case == "two_calls":
        arguments.append(STRINGS)
    if (
        (case == "two_calls" and not many)
        or (case == "text_and_call" and not speaks)
        or (case == "thought_and_call" and not thinks)
    ):
        pytest.skip("the template renders no such turn")
    calls = [{"name": "get_weather", "arguments": a} for a in arguments]
    turn = {
        "role": "assistant",
        "content": "Let me look.\nNow:" if case == "text_and_call" else "",
        "tool_calls": [{"type": "function", "id": f"call0000{i}", "function": c} for i, c in enumerate(calls)],
    }
    if case == "thought_and_call":
        turn["reasoning_content"] = "First,\n\nI think <about> it."
    source = source_of(name)
    prompt, text = rendered_answer(source, turn, [TOOL])
    thinking = prompt.rstrip().endswith("<think>")
    thought = turn.get("reasoning_content", "")
    jobs = [(source, pieces, thinking, [TOOL]) for pieces in pieces_of(text, case)]
    for got_thought, got_text, got_calls, names in text_tool.answer(jobs):
        assert got_calls == calls, text
        # A block tells the name of its first call: so of all, where each call has a block of its own.
        assert set(names) <= {"get_weather"} and len(names) <= len(calls), text
        assert names or name == BARE, text
        assert got_text == turn["content"], text
        assert got_thought.removeprefix("\n") == thought or (not thought and not got_thought.strip()), text
    # And back again: the turn that was read renders as the turn that was written.
    again = dict(
        turn,
        content=got_text,
        tool_calls=[{"type": "function", "id": f"call0000{i}", "function": c} for i, c in enumerate(got_calls)],
    )
    assert rendered_answer(source, again, [TOOL]) == (prompt, text)


# What a model may answer with, form by form; read by every template's own format, whatever that makes of it.
A = '{"city": "Paris", "n": 3, "l": [1, null, "x"], "f": 1.50}'
ANSWERS = {
    "text": "Hello.\n\n* one\n",
    "nothing": "",
    "thought": "<think>\nLet me see.\n</think>\n\nYes.",
    "open_thought": "Let me see.\n</think>\n\nYes.",
    "channel": "<|channel>thought\nLet me see.<channel|>Yes.",
    "json": '<tool_call>\n{"name": "get_weather", "arguments": ' + A + "}\n</tool_call>",
    "two_json": "Both.\n" + ('<tool_call>\n{"name": "get_weather", "arguments": ' + A + "}\n</tool_call>\n") * 2,
    "xml": (
        "<think>\nOne call.\n</think>\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=opts>\n{\"x\": [\"a\"]}\n</parameter>\n</function>\n</tool_call>"
    ),
    "keyed": '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,n:3,opts:{x:[<|"|>a<|"|>]}}<tool_call|>',
    "list": '[TOOL_CALLS][{"name": "get_weather", "arguments": ' + A + "}]",
    "bare": '{"name": "get_weather", "parameters": ' + A + "}",
}


def message_of(parsed):
    """The message that elm_answer_message makes of an answer (src/api/answer.c)."""
    thought, text, calls, _ = parsed
    message = {"role": "assistant", "content": text}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [
            {"type": "function", "id": f"call{i + 1:05}", "function": call} for i, call in enumerate(calls)
        ]
    return message


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_the_turn_after_an_answer(kind):
    """Every template goes on from every answer as jinja2 does; where it repeats the turns before, the prompt that was
    read goes on too, so that what the session has read of it stays."""
    if not TEMPLATES.is_dir():
        pytest.skip("the real templates are not in the tree")
    sources = [path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.glob("*.jinja"))]
    answer = ANSWERS[kind]
    parsed = text_tool.answer([(s, [answer], kind == "open_thought", [TOOL]) for s in sources])
    jobs, went_on = [], 0
    for source, got in zip(sources, parsed):
        message = message_of(got)
        results = [
            {"role": "tool", "name": "get_weather", "tool_call_id": c["id"], "content": "20"}
            for c in message.get("tool_calls", [])
        ]
        turns = [user("weather?"), message, *results]
        jobs.append((source, dict(BASE, tools=[TOOL], messages=turns if results else [*turns, user("and now?")])))
        before = expected_of(source, dict(BASE, tools=[TOOL], messages=turns[:1], add_generation_prompt=False))
        after = expected_of(*jobs[-1])
        went_on += isinstance(before, str) and isinstance(after, str) and after.startswith(before)
    assert check(jobs) >= 12
    assert went_on >= 9
    readers = {"json": 6, "two_json": 6, "xml": 2, "keyed": 2, "list": 1, "bare": 1}
    assert sum(bool(got[2]) for got in parsed) >= readers.get(kind, 0)


XML, JSON, BARE, LIST = (
    "Qwen3.5-4B",
    "Qwen-Qwen3-0.6B",
    "meta-llama-Llama-3.2-3B-Instruct",
    "mistralai-Mistral-Nemo-Instruct-2407",
)
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
F = {"name": "f", "arguments": {"a": 1}}


TWICE = (
    "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n"
    "<parameter=a>\n2\n</parameter>\n</function>\n</tool_call>"
)


@pytest.mark.parametrize(
    "name,text,thinking,expected",
    [
        (JSON, "", False, ("", "", [])),
        (JSON, "plain", False, ("", "plain", [])),
        (JSON, "a\n\nb\n", False, ("", "a\n\nb\n", [])),
        (JSON, "<think>\nhm\n</think>\n\nyes", False, ("hm", "yes", [])),
        (JSON, "hm\n</think>\n\nyes", True, ("hm", "yes", [])),
        (JSON, "<think>\nnever ends", False, ("never ends", "", [])),
        (JSON, "<think>\n\n</think>\n\nyes", False, ("", "yes", [])),
        (JSON, "a < b <thin <tool_cal", False, ("", "a < b <thin <tool_cal", [])),
        (JSON, CALL, False, ("", "", [F])),
        (JSON, "x\n" + CALL + "\n" + CALL, False, ("", "x", [F, F])),
        (JSON, CALL + "\nand more", False, ("", "and more", [F])),
        (JSON, "<tool_call>\nno json\n</tool_call>", False, ("", "<tool_call>\nno json\n</tool_call>", [])),
        (JSON, '<tool_call>{"name": "f", "arguments": {"a": 1}}', False, ("", "", [F])),
        (JSON, "<tool_call>", False, ("", "<tool_call>", [])),
        (
            JSON,
            '<tool_call>{"name": "f", "arguments": {"a": "</tool_call>"}}</tool_call>',
            False,
            ("", "", [{"name": "f", "arguments": {"a": "</tool_call>"}}]),
        ),
        (JSON, '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', False, ("", "", [F])),
        (
            JSON,
            '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
            False,
            ("", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>', []),
        ),
        (JSON, "</tool_call> </think>", False, ("", "</tool_call> </think>", [])),
        (
            XML,
            "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
            False,
            ("", "", [F]),
        ),
        (
            XML,
            "<tool_call>\n<function=get_weather>\n<parameter=city>\n1\n</parameter>\n</function>\n</tool_call>",
            False,
            ("", "", [{"name": "get_weather", "arguments": {"city": "1"}}]),
        ),
        (
            XML,
            "<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>",
            False,
            ("", "<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>", []),
        ),
        # A parameter that stands twice is no call.
        (XML, TWICE, False, ("", TWICE, [])),
        (
            XML,
            "so\n</think>\n\n<tool_call>\n<function=f>\n</function>\n</tool_call>",
            True,
            ("so", "", [{"name": "f", "arguments": {}}]),
        ),
        (BARE, '{"name": "f", "parameters": {"a": 1}}', False, ("", "", [F])),
        (BARE, '{"name": "f"}', False, ("", '{"name": "f"}', [])),
        (BARE, '{"name": "f", "parameters": {"a": 1}}; {"name": "f", "parameters": {"a": 1}}', False, ("", "", [F, F])),
        (BARE, 'Look: {"name": "f", "parameters": {}}', False, ("", 'Look: {"name": "f", "parameters": {}}', [])),
        (BARE, "{not json", False, ("", "{not json", [])),
        (LIST, '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}, "id": "abcdefghi"}]', False, ("", "", [F])),
        (LIST, '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]f[ARGS]{"a": 1}', False, ("", "", [F, F])),
        (LIST, '[TOOL_CALLS]f{"a": 1}', False, ("", "", [F])),
        (LIST, '[TOOL_CALLS]f{"a": 1}[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"a": 1}', False, ("", "", [F, F])),
        (LIST, "[TOOL_CALLS]", False, ("", "[TOOL_CALLS]", [])),
        (LIST, "[TOOL", False, ("", "[TOOL", [])),
        ("google-gemma-2-2b-it", "<think> {CALL}\n\n", False, ("", "<think> {CALL}\n\n", [])),
    ],
)
def test_cases(name, text, thinking, expected):
    source = source_of(name)
    for got in text_tool.answer([(source, pieces, thinking, [TOOL]) for pieces in pieces_of(text, 1)]):
        assert got[:3] == expected
        assert not expected[2] or name == BARE or got[3][0] == expected[2][0]["name"]


@pytest.mark.parametrize(
    "name,text,told",
    [
        (JSON, 'x<tool_call>\n{"name": "f"', ["f"]),
        (JSON, '<tool_call>{"name": "f', []),
        (JSON, '<tool_call>{"arguments": {}, "name": "f"', []),
        (JSON, '<tool_call>' + ' ' * 300 + '{"name": "f"}</tool_call>', []),
        (XML, "<tool_call>\n<function=f-1.b>\n<parameter", ["f-1.b"]),
        (XML, "<tool_call>\n<function=f x>", []),
        (BARE, '{"name": "f", "parameters": {', []),
        (LIST, '[TOOL_CALLS][{"name": "f", ', ["f"]),
        (LIST, "[TOOL_CALLS]f[", ["f"]),
        ("google-gemma-4-31B-it", "<|tool_call>call:f{a:1,b:", ["f"]),
    ],
)
def test_the_name_of_a_call_comes_before_its_end(name, text, told):
    # The text is no call, and comes out whole: the name was told while that was not known.
    for got in text_tool.answer([(source_of(name), pieces, False, []) for pieces in pieces_of(text, 1)]):
        assert got == ("", text, [], told)


def test_many_end_markers_take_no_time():
    text = '<tool_call>{"name": "f", "arguments": {"a": "' + "</tool_call>" * 50000
    ((_, got, calls, _),) = text_tool.answer([(source_of(JSON), [text], False, [])])
    assert got == text and calls == []


def test_long_answers_stream_in_linear_time():
    source, text = source_of(JSON), "\n" * 50000 + "<tool_call> " * 2000
    ((_, got, _, _),) = text_tool.answer([(source, list(text), False, [])])
    assert got == text.lstrip("\n")
