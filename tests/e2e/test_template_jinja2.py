"""Chat templates against jinja2 in the environment that transformers gives them: byte for byte, refusals included."""

import json
from datetime import datetime, timezone

import jinja2
import jinja2.ext
import pytest
import template_families
import template_snippets
import text_tool
from conftest import SHARED, run
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


ENV = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
ENV.filters["tojson"] = tojson
ENV.globals["raise_exception"] = raise_exception
NOW = datetime(2026, 3, 4, 15, 6, 7, tzinfo=timezone.utc)
ENV.globals["strftime_now"] = NOW.strftime


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, number="123456789"):
    return {"type": "function", "id": number, "function": {"name": name, "arguments": arguments}}


def result(text, number="123456789"):
    return {"role": "tool", "name": "get_weather", "tool_call_id": number, "content": text}


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get \"weather\" <b>",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City"},
                "n": {"type": "integer", "enum": [1, 2]},
                "opts": {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}},
            },
            "required": ["city"],
        },
    },
}
BASE = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
SYSTEM = {"role": "system", "content": "Be brief. "}

CHATS = {
    "system": dict(BASE, messages=[SYSTEM, user("Hi")]),
    "multi_turn": dict(BASE, messages=[user("a"), assistant("b"), user("c"), assistant(" d \n"), user("e")]),
    "tools": dict(BASE, messages=[user("weather?")], tools=[TOOL]),
    "system_and_tools": dict(BASE, messages=[SYSTEM, user("weather?")], tools=[TOOL, TOOL]),
    "tool_result": dict(
        BASE,
        tools=[TOOL],
        messages=[
            user("w?"),
            assistant("", tool_calls=[call("get_weather", {"city": "Paris", "n": 1, "f": 1.5, "l": [1, None, True]})]),
            result("{\"t\": 20}"),
            assistant("20"),
            user("thanks"),
        ],
    ),
    "two_calls": dict(
        BASE,
        tools=[TOOL],
        messages=[
            user("w?"),
            assistant(
                "Let me",
                tool_calls=[call("get_weather", {"city": "A"}), call("get_weather", {"city": "B"}, "abcdefghi")],
            ),
            result("1"),
            result("2", "abcdefghi"),
        ],
    ),
    "thinking_on": dict(BASE, messages=[user("q")], enable_thinking=True, thinking=True),
    "thinking_off": dict(BASE, messages=[user("q")], enable_thinking=False, thinking=False),
    "reasoning": dict(
        BASE,
        add_generation_prompt=False,
        messages=[
            user("q"),
            assistant("ans", reasoning_content="because"),
            user("q2"),
            assistant("<think>\nhm\n</think>\n\nok"),
            user("q3"),
            assistant("x", reasoning_content="y"),
        ],
    ),
    "empty": dict(BASE, messages=[]),
    "empty_content": dict(BASE, messages=[user("")]),
    "unicode": dict(
        BASE, messages=[user("h\u00e9llo \u65e5\u672c \U0001f389 <|im_end|> \u00a0 x"), assistant("\u00fcn\u00ef")]
    ),
    "parts": dict(
        BASE,
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "look"}, {"type": "image"}, {"type": "text", "text": "here"}],
            }
        ],
    ),
    "missing_variables": dict(messages=[user("x")]),
    "raises": dict(BASE, messages=[assistant("first"), assistant("second"), {"role": "system", "content": "late"}]),
    "no_content": dict(BASE, messages=[user("x"), assistant(None, tool_calls=[call("f", {})])]),
}

SMALL = [
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ m.role|upper }}: {{ m['content'] }}\n{% endfor %}",
    "  {% if messages %}\n    yes\n  {% else %}\n    no\n  {% endif %}\nend\n",
    "{%- for m in messages -%} [{{ m.content -}} ] {%- endfor -%} .",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=4, a=5) }}",
    "{% for m in messages if m.role == 'user' %}{{ m.content }}{% else %}none{% endfor %}",
    "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{% if loop.index0 == 3 %}{% break %"
    "}{% endif %}"
    "{{ m.content }},{% endfor %}",
    "{{ messages|map(attribute='role')|join(', ') }} {{ messages|length }} {{ [3,1,2]|sort|list }} {{ 'x,y'.spl"
    "it(',') }}",
    "{{ {'a': 1, 'b': [1, 2.5, none, true]}|tojson }} {{ {'b': 1, 'a': 2}|tojson(indent=2, sort_keys=true) }}",
    "{{ 'abc'[::-1] }} {{ [1,2,3,4][1:3] }} {{ 'abc'[-2:] }} {{ (1, 'two', 3.0) }} {{ {'k': 'v'} }} {{ 1e20 }} {{"
    " 10/4 }} {{ 7//2 }}",
    "{{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 'a' ~ 1 ~ none }} {{ 'ab' * 3 }} {{ 1 < 2 < 3 }} {{ not 1 in [2] }}",
    "{% set x %}  block {{ 1 + 1 }} {% endset %}[{{ x|trim }}]{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{{ undefined_thing }}{{ undefined_thing is defined }}{{ undefined_thing|default('d') }}{{ x if x is defined "
    "else 'none' }}",
    "{{ 'Hello World'.replace('o', '0').lower().title() }} {{ '  s '.strip() }} {{ 'a b  c'.split() }} {{ 'abc'.s"
    "tartswith(('x', 'a')) }}",
    "{% generation %}{{ messages|length }}{% endgeneration %}{# comment #}\n{#- trimmed -#}\nx",
    "{{ raise_exception('no ' ~ messages|length) }}",
    "{{ messages[0].nothing.more }}",
    "{% raw %}{{ not run }}{% endraw %} {{ \"it's\" }} {{ 'say \"x\"' }} {{ ['it\\'s', \"q\"] }}",
    "{% call(u) g() %}<{{ u }}>{% endcall %}{% macro g() %}{{ caller(1) }}{% endmacro %}",
    "{% macro g() %}{{ caller(1) }}{% endmacro %}{% call(u) g() %}<{{ u }}>{% endcall %}",
    "{{ [1, 2, 3]|select('odd')|list }} {{ [{'a': 1}, {'a': 2}]|selectattr('a', 'gt', 1)|list }} {{ {'z': 1, 'a':"
    " 2}|dictsort }}",
    "{{ [1,[2,3]]|tojson(separators=(',', ':')) }} {{ '\u00e9\"\\n<>&\\''|tojson }} {{ 3.0 }} {{ 0.1 + 0.2 }} {{ "
    "1e-7 }} {{ 123456789012.5 }}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for c in 'ab' %}{{ c }}{{ loop.last"
    " }}{% endfor %}",
    "{% filter upper %}abc {{ 'd' }}{% endfilter %} {{ 'x'|indent(2, true) }} {{ 'a\nb'|indent }} {{ [1,2]|first "
    "}} {{ [1,2]|last }}",
]


# Printed differently on purpose: what has no value that a template could mean.
UNPRINTABLE = (" at 0x", "dict_items(", "dict_keys(", "dict_values(", "<class ")
# jinja2 does these, we refuse them when the template is parsed, or they are undefined.
MISSING = (
    "random",
    "pprint",
    "striptags",
    "lipsum",
    "autoescape true",
    "translate",
    "self is",
    ".encode",
    "f.name",
    "| urlencode",
    "{% raw %}",
    "l[]",
    "items.items }}",
    "(_a=1)",
    "| s ~",
    "| loop is",
)


def expected_of(source, variables):
    try:
        return ENV.from_string(source).render(**variables)
    except Exception as e:  # jinja2 refuses: so must we, with a status of ours
        return e


def check(jobs):
    n_equal = 0
    for (source, variables), (status, text, parts) in zip(jobs, text_tool.render(jobs, int(NOW.timestamp()))):
        expected = expected_of(source, variables)
        if isinstance(expected, Exception):
            assert status != 0, (source, text, expected)
        elif not any(word in expected for word in UNPRINTABLE):
            assert (status, text) == (0, expected), source
            assert "".join(t for _, t in parts) == expected
            n_equal += 1
    return n_equal


@pytest.mark.parametrize("number", range(len(SMALL)))
def test_small_templates(number):
    check([(SMALL[number], chat) for chat in CHATS.values()])


@pytest.mark.parametrize("family", sorted(template_families.FAMILIES))
def test_families(family):
    """Every chat, with the tools it has and with richer ones, documents, and a budget."""
    tools = [template_families.SCHEMA, template_families.EMPTY]
    more = dict(documents=[{"title": "t", "text": "a\n\"b\""}, {"n": 1}], thinking_budget=700, strict=True)
    source = template_families.FAMILIES[family]
    extras = ({}, {"tools": tools[:1]}, {"tools": tools, **more})
    chats = [dict(chat, **extra) for chat in CHATS.values() for extra in extras]
    assert check([(source, chat) for chat in chats]) >= 15


def test_every_feature():
    sources = ["{{ " + x + " }}" for x in template_snippets.expressions()] + template_snippets.STATEMENTS
    jobs = [(s, template_snippets.VARIABLES) for s in sources if not any(word in s for word in MISSING)]
    serializable = [
        j for j in jobs if not (isinstance(expected_of(*j), TypeError) and "tojson" in j[0])
    ]  # generators and views
    assert check(serializable) > 700


def test_the_command(tmp_path):
    (tmp_path / "t.jinja").write_text(SMALL[0], encoding="utf-8", newline="")
    (tmp_path / "c.json").write_text(json.dumps(CHATS["multi_turn"]), encoding="utf-8")
    out = run("template", tmp_path / "t.jinja", "--chat", tmp_path / "c.json").stdout.decode()
    assert out == expected_of(SMALL[0], CHATS["multi_turn"])


@pytest.mark.skipif(not (SHARED / "vectors" / "templates").is_dir(), reason="the real templates are not in the tree")
@pytest.mark.parametrize("chat", sorted(CHATS))
def test_real_templates(chat):
    paths = sorted((SHARED / "vectors" / "templates").glob("*.jinja"))
    assert len(paths) == 18
    check([(path.read_text(encoding="utf-8"), CHATS[chat]) for path in paths])


def test_what_the_user_wrote_is_input():
    """In every part that a real template renders, text of messages and tools is input, and nothing else is."""
    token = "<|im_end|><eos></s>\u2581[/INST]"
    chat = dict(
        BASE,
        messages=[
            {"role": "system", "content": token},
            user(token),
            assistant(token, tool_calls=[call("f" + token, {"a" + token: token})]),
            {"role": "tool", "name": token, "tool_call_id": "123456789", "content": token},
            user(token),
        ],
        tools=[
            {
                "type": "function",
                "function": {
                    "name": token,
                    "description": token,
                    "parameters": {"type": "object", "properties": {"x": {"type": "string", "description": token}}},
                },
            }
        ],
    )
    sources = [
        p.read_text(encoding="utf-8") for p in sorted((SHARED / "vectors" / "templates").glob("*.jinja"))
    ] + SMALL
    seen = 0
    for source, (status, text, parts) in zip(sources, text_tool.render([(s, chat) for s in sources])):
        clean = chat_without(token, chat)
        plain = text_tool.render([(source, clean)])[0]
        if status != 0 or plain[0] != 0:
            continue
        of_template = [t for origin, t in parts if origin == text_tool.TEMPLATE]
        assert not any(token in t for t in of_template), source
        assert "".join(of_template).count("<|im_end|>") == "".join(
            t for o, t in plain[2] if o == text_tool.TEMPLATE
        ).count("<|im_end|>")
        seen += 1
    assert seen >= 15


def chat_without(token, value):
    """The same value with a harmless word in the place of the token."""
    return json.loads(json.dumps(value).replace(json.dumps(token)[1:-1], "zzz"))


@pytest.mark.parametrize(
    "source,code,words",
    [
        ("{{ (" * 100000, 9, "deep"),
        ("{% if %}", 4, "line 1"),
        ("{{ x | nosuchfilter }}", 5, "nosuchfilter"),
        ("{% include 'x' %}", 5, "include"),
        ("a\n{% for x in %}", 4, "line 2"),
        ("{{ 'open }}", 4, "string"),
        ("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}", 9, "steps"),
        (
            "{% for i in range(100000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
            9,
            "output",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", 9, "deep"),
        ("{{ 'a' * 99999999999 }}", 9, "long"),
        ("{{ " + "1+" * 100000 + "1 }}", 9, "deep"),
        ("{{ ' s '.strip(('ab', 'a')) }}", 2, "strip takes a string"),
    ],
    ids=range(12),
)
def test_limits_and_errors(tmp_path, source, code, words):
    (tmp_path / "t.jinja").write_text(source)
    (tmp_path / "c.json").write_text("{}")
    ours = run("template", tmp_path / "t.jinja", "--chat", tmp_path / "c.json", check=code)
    assert words in ours.message
