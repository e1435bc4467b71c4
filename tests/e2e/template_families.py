"""Templates in the style of current model families, in words of our own: the constructions each of them leans on.

FAMILIES: name -> source. VARIABLES: what they are rendered with, beside every chat of the suite."""

FAMILIES = {
    # Types of a JSON schema as TypeScript, by macros that call each other.
    "harmony": """
{%- macro type_of(spec, required, pad='') -%}
{%- set kind = spec.type | default('any') -%}
{%- if kind == 'array' -%}
    {%- if spec['items'] -%}
        {%- if spec['items']['type'] in ['integer', 'number'] -%}number[]
        {%- else -%}{{ type_of(spec['items'], required, pad ~ '  ') ~ '[]' }}{%- endif -%}
    {%- else -%}any[]{%- endif -%}
    {%- if spec.nullable %} | null{% endif -%}
{%- elif kind is iterable and kind is not string and kind[0] -%}
    {{- kind | join(' | ') -}}
{%- elif spec.oneOf -%}
    {%- for one in spec.oneOf -%}
        {{- type_of(one, required) -}}
        {%- if one.description %} // {{ one.description }}{% endif -%}
        {%- if not loop.last %} | {% endif -%}
    {%- endfor -%}
{%- elif kind == 'string' -%}
    {%- if spec.enum -%}{{ '"' + spec.enum | map('string') | join('" | "') + '"' }}
    {%- else -%}string{%- endif -%}
{%- elif kind in ('number', 'integer') -%}number
{%- elif kind == 'object' and spec.properties -%}
    {{- '{\\n' -}}
    {%- for key, inner in spec.properties.items() -%}
        {{- pad ~ '  ' ~ key -}}
        {%- if key not in (spec.required or []) %}?{% endif -%}
        {{- ': ' ~ type_of(inner, spec.required or [], pad ~ '  ') -}}
        {%- if inner.default is defined -%}
            {%- if inner.default is string %} // default: {{ inner.default | tojson }}
            {%- else %} // default: {{ inner.default }}{%- endif -%}
        {%- endif -%}
        {{- ',' if not loop.last else '' }}{{ '\\n' -}}
    {%- endfor -%}
    {{- pad ~ '}' -}}
{%- else -%}any{%- endif -%}
{%- endmacro -%}
{%- macro space(name, tools) -%}
{{- '## ' ~ name + '\\n\\nnamespace ' + name + ' {\\n\\n' }}
{%- for tool in tools %}{% set f = tool.function %}
{{- '// ' + (f.description | default('', true)) + '\\n' }}{{- 'type ' + f.name + ' = ' }}
{%- if f.parameters and f.parameters.properties %}{{- '(_: ' ~ type_of(f.parameters, []) ~ ') => any;\\n\\n' }}
{%- else %}{{- '() => any;\\n\\n' }}{% endif %}
{%- endfor %}{{- '} // namespace ' + name }}
{%- endmacro -%}
Date: {{ strftime_now('%Y-%m-%d') }}
Effort: {{ (effort if effort is defined else 'medium') }}
{% if tools -%}{{ space('functions', tools) }}{%- endif -%}
{%- for m in messages -%}
    {%- if m.role == 'assistant' and 'tool_calls' in m and m.tool_calls -%}
        {%- set call = m.tool_calls[0].function -%}
        {{- '<|start|>assistant to=functions.' ~ call.name ~ '<|channel|>commentary json<|message|>' -}}
        {{- (call.arguments if call.arguments is string else call.arguments | tojson) ~ '<|call|>' -}}
    {%- elif m.role != 'tool' -%}{{- '<|start|>' ~ m.role ~ '<|message|>' ~ m.content ~ '<|end|>' -}}
    {%- endif -%}
{%- endfor -%}
""",
    "deepseek": """
{%- if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}
{%- if not thinking is defined %}{% set thinking = false %}{% endif %}
{%- set ns = namespace(is_first=false, is_tool=false, is_last_user=false, system_prompt='', first=true) %}
{%- for message in messages %}{%- if message['role'] == 'system' %}
{%- if ns.first %}{%- set ns.system_prompt = ns.system_prompt + message['content'] %}{%- set ns.first = false %}
{%- else %}{%- set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}
{%- endif %}{%- endfor %}
{{- bos_token }}{{ ns.system_prompt }}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{%- set ns.is_tool = false %}{%- set ns.is_last_user = true %}
{{- '<|User|>' + message['content'] if message['content'] is string else message['content'] | length }}{%- endif %}
{%- if message['role'] == 'assistant' and message['tool_calls'] is defined and message['tool_calls'] is not none %}
{%- if ns.is_last_user %}{{ '<|Assistant|></think>' }}{%- endif %}{%- set ns.is_last_user = false %}
{%- set ns.is_first = false %}
{%- for tool in message['tool_calls'] %}
{%- if not ns.is_first %}{%- if message['content'] is none %}{{ '<calls>' + tool['function']['name'] }}
{%- else %}{{ message['content'] + '<calls>' + tool['function']['name'] }}{%- endif %}
{%- set ns.is_first = true %}{%- else %}{{ '<call>' + tool['function']['name'] }}{%- endif %}
{{- '<sep>' + tool['function']['arguments'] | tojson + '<end>' }}
{%- endfor %}{{ '<calls_end>' ~ eos_token }}{%- endif %}
{%- if message['role'] == 'assistant' and not message['tool_calls'] %}
{%- set content = message['content'] %}
{%- if '</think>' in content %}{%- set content = content.split('</think>', 1)[1] %}{%- endif %}
{{- ('<|Assistant|></think>' if ns.is_last_user else '') + content + eos_token }}{%- set ns.is_last_user = false
%}{%- endif %}
{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true %}{{ '<out>' + message['content'] + '</out>' }}{%-
endif %}
{%- endfor -%}
{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}{{ '<|Assistant|>' }}
{%- if not thinking %}{{ '</think>' }}{%- else %}{{ '<think>' }}{%- endif %}{% endif %}""",
    "llama4": """{{- bos_token }}
{%- if custom_tools is defined and custom_tools %}{% set tools = custom_tools %}{% endif %}
{%- set user_first = tools_in_user_message if tools_in_user_message is defined else not messages[0].role == 'system'
%}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- if messages[0]['content'] is string %}{%- set system = messages[0]['content'] | trim %}
    {%- else %}{%- set system = messages[0]['content'][0]['text'] | trim %}{%- endif %}
    {%- set messages = messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}
{%- if system or not user_first %}{{ '<|header_start|>system<|header_end|>\n\n' ~ system }}{% endif %}
{%- for t in tools or [] %}{{ t | tojson(indent=4) }}{{ '\n\n' }}{%- endfor %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
    {{- '<|header_start|>' + message['role'] + '<|header_end|>\n\n' }}
        {%- if message['content'] is string %}{{ message['content'] }}
        {%- else %}{%- for part in message['content'] %}
            {%- if part['type'] == 'image' %}{{ '<|image|>' }}
            {%- elif part['type'] == 'text' %}{{ part['text'] | trim }}{%- endif %}
        {%- endfor %}{%- endif %}{{ '<|eot|>' }}
    {%- elif 'tool_calls' in message and message.tool_calls | length > 0 %}
        {%- for call in message.tool_calls %}{{ '{"name": "' + call.function.name + '", "parameters": ' }}
        {{- call.function.arguments | tojson }}{{ '}' }}{%- endfor %}
    {%- elif message.content is mapping or message.content is iterable %}{{ message.content | tojson }}
    {%- else %}{{ message.content }}{%- endif %}
{%- endfor %}""",
    "command": """{% macro schema(tool) %}{"name": "{{ tool['function']['name'] }}", "parameters": {
{%- for name, p in tool.function.parameters.properties.items() %}"{{ name }}": {{ p | tojson }}
{%- if not loop.last %}, {% endif %}{% endfor %}}}{% endmacro %}
{%- macro documents_of(docs) %}[{% for d in docs %}
    {"id": "{{ loop.index0 }}", {% for k, v in d.items() | list %}{{ k | tojson }}: {{ v | string | tojson }}
{%- if not loop.last %}, {% endif %}{% endfor %}}{{ ',' if not loop.last }}{% endfor %}
]{% endmacro %}
{%- set counter = namespace(tool=-1, ids=[], regular=0) %}
{%- for m in messages %}
{%- if m.role | lower == 'user' %}<|USER|>{{ m.content }}{% set counter.regular = counter.regular + 1 %}
{%- elif m.role | lower in ['assistant', 'chatbot'] %}<|CHATBOT|>
{%- if m.tool_calls %}[{% for tc in m.tool_calls %}{% set counter.tool = counter.tool + 1 %}
    {"tool_call_id": "{{ counter.tool }}", "tool_name": "{{ tc['function']['name'] }}", "parameters": {{
tc['function']['arguments'] | tojson }}}
{%- set counter.ids = counter.ids + [(tc.id, counter.tool)] %}{% if not loop.last %},{% endif %}{% endfor %}
]{% else %}{{ m.content }}{% endif %}
{%- elif m.role == 'tool' %}{% for id, n in counter.ids if id == m.tool_call_id %}<{{ n }}:{{ m.content }}>{% else
%}<unknown>{% endfor %}
{%- endif %}{% endfor %}
{%- if tools %}{% for t in tools %}{{ schema(t) }}{{ ',\n' if not loop.last else '\n' }}{% endfor %}{% endif %}
{%- if documents %}{{ documents_of(documents) }}{% endif %}{{ counter.regular }}""",
    "phi4": """{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and
message['tools'] is not none %}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}
{%- else %}{{ '<|' ~ message['role'] ~ '|>' ~ (message['content'] or '') ~ '<|end|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}""",
    "glm": """[mask]<sop>
{%- macro visible(content) -%}
    {%- if content is string -%}{{- content }}
    {%- elif content is iterable and content is not mapping -%}
        {%- for item in content -%}
            {%- if item is mapping and item.type == 'text' -%}{{- item.text }}
            {%- elif item is string -%}{{- item }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}{{- content }}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{% set ns.last = loop.index0 -%}{%- endif %}{%- endfor %}
{% for m in messages %}
{%- if m.role == 'user' -%}<|user|>
{{ visible(m.content) }}
{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not
visible(m.content).endswith('/nothink')) else '' -}}
{%- elif m.role == 'assistant' -%}<|assistant|>
{%- set reasoning = '' %}{%- set content = visible(m.content) %}
{%- if m.reasoning_content is string %}{%- set reasoning = m.reasoning_content %}
{%- elif '</think>' in content %}
    {%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\n') %}
{%- endif %}
{%- if loop.index0 > ns.last and reasoning -%}{{ '\n<think>' + reasoning.strip() + '</think>' }}
{%- else -%}{{ '\n<think></think>' }}{%- endif -%}
{%- if content.strip() -%}{{ '\n' + content.strip() }}{%- endif -%}
{% if m.tool_calls %}{% for tc in m.tool_calls %}{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}
{{ '\n<tool_call>' + tc.name }}
{% set args = tc.arguments %}{% for k, v in args.items() %}<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>
{% endfor %}</tool_call>{% endfor %}{% endif %}
{%- elif m.role == 'tool' -%}
{%- if loop.first or (messages[loop.index0 - 1].role != 'tool') %}{{- '<|observation|>' }}{%- endif %}
{{- '\n<tool_response>\n' }}{{- visible(m.content) }}{{- '\n</tool_response>' }}
{%- elif m.role == 'system' -%}<|system|>
{{ visible(m.content) }}
{%- endif -%}{%- endfor -%}""",
    "kimi": """{% macro content_of(message) -%}
    {%- set c = message.get('content') -%}
    {%- if c is string -%}{{ c }}{%- elif c is not none -%}
    {% for part in c -%}{% if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}<media>
    {%- else -%}{{ part['text'] }}{%- endif -%}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- macro calls(message) -%}<|section|>{%- for tool_call in message['tool_calls'] -%}
    {%- set func_name = tool_call['function']['name'] -%}{%- set id = 'functions.' + func_name + ':' + loop.index0 |
string -%}
    <|begin|>{{ id }}<|args|>{% if tool_call['function']['arguments'] is string %}{{
tool_call['function']['arguments'] }}
    {%- else %}{{ tool_call['function']['arguments'] | tojson }}{% endif %}<|end|>{%- endfor -%}<|/section|>
{%- endmacro -%}
{%- if tools -%}<|im_system|>{{ tools | tojson(separators=(',', ':')) }}<|im_end|>{%- endif -%}
{% for message in messages %}
    {%- if loop.first and messages[0]['role'] != 'system' -%}<|im_system|>default<|im_end|>
    {%- endif -%}
    {%- set name = message.get('name') or message['role'] -%}
    <|im|>{{ name }}<|mid|>{{ content_of(message) }}
    {%- if message['role'] == 'assistant' and message.get('tool_calls') %}{{ calls(message) }}{%- endif
-%}<|im_end|>
{%- endfor -%}""",
    "minimax": """{%- set open = '<minimax:call>' -%}
{%- macro render(tools) -%}{%- for tool in tools %}
<tool>{{ tool.function | tojson(ensure_ascii=False) }}</tool>
{%- endfor %}{%- endmacro -%}
{%- macro system_of(m) -%}{%- if m and m.content -%}{{ m.content if m.content is string else m.content |
map(attribute='text') | join }}
{%- elif identity is not defined -%}{{ 'You are an assistant.' }}{%- else -%}{{ identity }}{%- endif -%}{%- endmacro
-%}
{%- set system = none -%}{%- set chat = messages -%}
{%- if messages and messages[0].role == 'system' -%}{%- set system = messages[0] -%}{%- set chat = messages[1:]
-%}{%- endif -%}
{%- set ns = namespace(last_user=-1, last_call={'name': none}) %}
{% for m in chat | reverse %}{% if m.role == 'user' and ns.last_user < 0 %}{% set ns.last_user = chat | length -
loop.index %}{% endif %}{% endfor %}
{{- ']~b]system\n' ~ system_of(system) }}{%- if tools -%}{{ '\n# Tools' ~ render(tools) }}{%- endif -%}{{- '[e~[\n'
}}
{%- for m in chat -%}{%- if m.role == 'assistant' -%}
{{- ']~b]ai\n' }}{{ m.content or '' }}{%- if m.tool_calls -%}{{- '\n' ~ open ~ '\n' }}
{%- for call in m.tool_calls -%}{%- set call = call.function or call -%}{{- '<invoke name="' + call.name + '">' }}
{% for k, v in (call.arguments or {}).items() %}
{{- '<parameter name="' + k + '">' }}{{- v | tojson(ensure_ascii=False) if v is not string else v }}{{-
'</parameter>\n' }}
{%- endfor %}{{ '</invoke>\n' }}{%- endfor -%}{% set ns.last_call = {'name': m.tool_calls[-1].function.name} %}{%-
endif -%}
{%- endif -%}{%- endfor -%}{{ ns.last_user }}{{ ns.last_call.name }}""",
    "granite": """{%- set prefix = 'You have tools in <tools></tools> tags:\n<tools>' %}
{%- set ns = namespace(tools='', text=prefix, docs='') %}
{%- if tools %}{%- for tool in tools %}{%- set ns.text = ns.text + '\n' + (tool | tojson) %}{%- endfor %}
{%- set ns.text = ns.text + '\n</tools>' %}{%- else %}{%- set ns.text = '' %}{%- endif %}
{%- if documents %}{%- for document in documents %}{%- set ns.docs = ns.docs + '\n' + (document | tojson) %}{%-
endfor %}{%- endif %}
{%- for message in messages %}{%- set content = namespace(val='') %}
{%- if message.content is string %}{%- set content.val = message.content %}
{%- else %}{%- if message.content is iterable %}{%- for entry in message.content %}
{%- if entry.type == 'text' %}{%- if content.val != '' %}{%- set content.val = content.val + '\n' %}{%- endif %}
{%- set content.val = content.val + entry.text %}{%- endif %}{%- endfor %}{%- endif %}{%- endif %}
{%- if (message.role == 'user') or (message.role == 'system' and not loop.first) %}
{{- '<|role|>' + message.role + '<|end_role|>' + content.val + '<|eot|>\n' }}
{%- elif message.role == 'tool' %}{%- if loop.first or (loop.previtem.role != 'tool') %}{{-
'<|role|>user<|end_role|>' }}{%- endif %}
{{- '\n<tool_response>\n' + content.val + '\n</tool_response>' }}
{%- if loop.last or (loop.nextitem.role != 'tool') %}{{- '<|eot|>\n' }}{%- endif %}{%- endif %}{%- endfor %}{{
ns.text }}{{ ns.docs }}""",
    "smollm": """{%- if reasoning_mode is not defined %}{%- if enable_thinking is defined and not enable_thinking
-%}
{%- set reasoning_mode = '/no_think' -%}{%- else -%}{%- set reasoning_mode = '/think' -%}{%- endif -%}{%- endif -%}
{%- if messages and messages[0].role == 'system' -%}{%- set system_message = messages[0].content -%}
{%- if '/no_think' in system_message -%}{%- set reasoning_mode = '/no_think' -%}{%- endif -%}
{%- set custom = system_message.replace('/no_think', '').replace('/think', '').rstrip() -%}{%- endif -%}
{{- '<|im_start|>system\n' -}}Today: {{ strftime_now('%d %B %Y') }} Mode: {{ reasoning_mode }}
{% if custom is defined %}{{ custom }}{% endif %}
{%- if xml_tools or tools %}{%- set ns = namespace(xml='') -%}
{%- for tool in xml_tools or tools -%}{%- set ns.xml = ns.xml ~ (tool | string) ~ '\n' -%}{%- endfor -%}{{ ns.xml
}}{%- endif -%}
{%- for message in messages -%}{%- set content = message.content if message.content is string else '' -%}
{%- if message.role == 'assistant' -%}{%- generation -%}
{%- if reasoning_mode == '/think' -%}{{ '<|im_start|>assistant\n' + content.lstrip('\n') + '<|im_end|>\n' }}
{%- else -%}{{ '<|im_start|>assistant\n<think>\n\n</think>\n' + content.lstrip('\n') + '<|im_end|>\n' }}{%- endif
-%}
{%- endgeneration -%}{%- else -%}{{ '<|im_start|>' ~ message.role ~ '\n' ~ content ~ '<|im_end|>\n' }}{%- endif
-%}{%- endfor -%}""",
    "nemotron": """{%- set ns = namespace(thinking=true, system='', turns=0) -%}
{%- for message in messages -%}{%- set content = message['content'] -%}
{%- if content is string and message['role'] in ('user', 'system') -%}
{%- if '/think' in content.replace('</think>', '') -%}{%- set ns.thinking = true -%}
{%- elif '/no_think' in content -%}{%- set ns.thinking = false -%}{%- endif -%}{%- endif -%}{%- endfor -%}
{{- '<SPECIAL_10>System\n' -}}{%- if tools -%}{{- 'Available: <AVAILABLE_TOOLS>[' -}}
{%- for tool in tools -%}{{- (tool.function if tool.function is defined else tool) | tojson -}}{{- ', ' if not
loop.last else '' -}}{%- endfor -%}
{{- ']</AVAILABLE_TOOLS>' -}}{%- endif -%}
{%- for m in messages %}{% if m['role'] == 'user' %}{{ '\n<SPECIAL_11>User\n' ~ (m['content'] |
string).replace('/think', '').replace('/no_think', '').strip() }}
{%- elif m['role'] == 'assistant' %}{{ '\n<SPECIAL_11>Assistant\n' }}{% set ns.turns = ns.turns + 1 %}
{%- if m.tool_calls -%}{{ '<TOOLCALL>[' }}{%- for c in m.tool_calls -%}{{ '{"name": "' + c.function.name +
'", "arguments": ' }}
{{- c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}{{ '}' ~ (', ' if
not loop.last else '') }}{%- endfor -%}{{ ']</TOOLCALL>' }}
{%- else %}{{ (m['content'] or '').split('</think>')[-1].strip() }}{%- endif -%}{%- endif -%}{%- endfor -%}{{
ns.turns }}{{ ns.thinking }}""",
    "hunyuan": """{% set context = {'has_head': true} %}{% set loop_messages = messages %}
{%- if messages and messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system =
messages[0]['content'] %}<|start|>{{ system }}<|extra_4|>{% endif %}
{%- for message in loop_messages %}
{%- if (message['role'] == 'user') != (loop.index0 is even) and strict | default(false) %}{{
raise_exception('roles must alternate, at ' ~ loop.index) }}{% endif %}
{%- if message['role'] == 'user' %}{% if loop.index0 == 0 and not context.has_head %}<|start|>{% endif %}{{
message['content'] }}<|extra_0|>
{%- elif message['role'] == 'assistant' %}{% set content = message.content or '' %}
{%- if '<answer>' in content and '</answer>' in content %}{% set content =
content.split('<answer>')[-1].split('</answer>')[0].strip() %}{% endif %}{{ content }}<|eos|>{% endif %}{% endfor %}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n' }}{% endif %}""",
    "lfm": """{{- bos_token -}}{%- set system_prompt = '' -%}{%- set ns = namespace(system_prompt='') -%}
{%- if messages | length > 0 and messages[0]['role'] == 'system' -%}{%- set ns.system_prompt =
messages[0]['content'] -%}{%- set messages = messages[1:] -%}{%- endif -%}
{%- if tools -%}{%- set ns.system_prompt = ns.system_prompt + ('\n' if ns.system_prompt else '') +
'List of tools: <|list|>[' -%}
{%- for tool in tools -%}{%- if tool is not string -%}{%- set tool = tool | tojson -%}{%- endif -%}
{%- set ns.system_prompt = ns.system_prompt + tool -%}{%- if not loop.last -%}{%- set ns.system_prompt =
ns.system_prompt + ', ' -%}{%- endif -%}{%- endfor -%}
{%- set ns.system_prompt = ns.system_prompt + ']<|list_end|>' -%}{%- endif -%}{{- ns.system_prompt -}}
{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\n' -}}{%- set content = message['content']
-%}
{%- if content is not string -%}{%- set content = content | tojson -%}{%- endif -%}
{%- if message['role'] == 'tool' -%}{%- set content = '<|response|>' + content + '<|response_end|>' -%}{%- endif
-%}{{- content + '<|im_end|>\n' -}}{%- endfor -%}""",
    "exaone": """{%- if not skip_think is defined %}{%- set skip_think = true %}{%- endif %}
{%- set role_marks = {'user': '[|user|]', 'assistant': '[|assistant|]', 'system': '[|system|]', 'tool': '[|tool|]'}
%}
{%- set ns = namespace(last=messages | length - 1, found=false) %}
{%- for i in range(messages | length - 1, -1, -1) %}{%- if not ns.found and messages[i].role == 'user' and
messages[i].content is string %}{%- set ns.last = i %}{%- set ns.found = true %}{%- endif %}{%- endfor %}
{%- for i in range(messages | length) %}{%- set msg = messages[i] %}{%- set role = msg.role %}
{%- if role not in role_marks %}{{- raise_exception('Unknown role: ' + role) }}{%- endif %}
{%- if i == 0 and tools %}{{- role_marks['system'] }}{%- for tool in tools %}{{- '\n' ~ loop.index ~ '. ' ~ tool |
tojson(ensure_ascii=False) | safe }}{%- endfor %}{%- endif %}
{{- role_marks[role] }}
{%- if role == 'assistant' and msg.content and '</think>' in msg.content and (skip_think or i < ns.last) %}{%- set
content = msg.content.split('</think>')[-1].strip() %}{%- set reasoning = msg.content.split('</think>')[0].strip()
%}
{%- if reasoning.startswith('<think>') %}{%- set reasoning = reasoning[7:].strip() %}{%- endif %}{{- reasoning |
length ~ ':' ~ content }}
{%- else %}{{- msg.content | string }}{%- endif %}{{- '[|endofturn|]\n' }}{%- endfor %}""",
    "seed": """{%- macro py_type(t) -%}{%- if t == 'string' -%}str{%- elif t in ('number', 'integer') -%}int{%- elif
t == 'boolean' -%}bool{%- elif t == 'array' -%}list{%- else -%}Any{%- endif -%}{%- endmacro -%}
{%- set budgets = {0: 0, 512: 128, 1024: 256, 2048: 512, 4096: 512, 8192: 1024, 16384: 1024} -%}
{%- set ns = namespace(interval=None) -%}{%- set budget = thinking_budget | default(3000) -%}
{%- for k, v in budgets | dictsort -%}{%- if ns.interval is none and budget <= k -%}{%- set ns.interval = v -%}{%-
endif -%}{%- endfor -%}
{%- if ns.interval is none -%}{%- set ns.interval = budgets[16384] -%}{%- endif -%}
{%- for item in tools or [] %}{% if item.type == 'function' %}
Function:
def {{ item.function.name }}(
{%- for name, value in item.function.parameters.properties.items() -%}{{- name }}: {{ py_type(value.type) }}{%- if
not loop.last %}, {% endif -%}{%- endfor -%}):
    \"\"\"
    {{ item.function.description | trim }}

    Args:
    {%- for name, value in item.function.parameters.properties.items() %}

    - {{ name }} ({{ py_type(value.type) }})
      {%- if name in (item.function.parameters.required or []) %} [required]{% else %} [optional]{% endif %}: {{
value.description | default('') }}
      {%- if value.enum %} Enum values: {% for e in value.enum %}"{{ e }}"{% if not loop.last %}, {% endif %}{%
endfor %}{% endif %}
    {%- endfor %}
    \"\"\"
{% endif %}{% endfor %}{{ budget }}/{{ ns.interval }}{% for m in messages %}{{ m.content | string | indent(2) }}|{%
endfor %}""",
    "ernie": """{%- if not add_generation_prompt is defined -%}{%- set add_generation_prompt = true -%}{%- endif -%}
{%- if not cls_token is defined -%}{%- set cls_token = '<|begin|>' -%}{%- endif -%}{{- cls_token -}}
{%- for message in messages -%}{%- if message['role'] == 'user' -%}{{- 'User: ' + (message['content'] | string) +
'\n' -}}
{%- elif message['role'] == 'assistant' -%}{{- 'Assistant: ' -}}{%- generation -%}{{- message['content'] ~ '<|end|>'
-}}{%- endgeneration -%}
{%- elif message['role'] == 'system' -%}{{- message['content'] + '\n' -}}{%- endif -%}{%- endfor -%}{%- if
add_generation_prompt -%}{{- 'Assistant: ' -}}{%- endif -%}""",
    # Qwen with a multi-step tool turn, found from the end; Mistral's checks; Gemma's roles.
    "multi_step": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages | length - 1) %}
{%- for message in messages[::-1] %}{%- set index = (messages | length - 1) - loop.index0 %}
{%- if ns.multi_step_tool and message.role == 'user' and message.content is string and not
(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
{%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}
{%- if ns.multi_step_tool %}{{ raise_exception('No user query found in messages.') }}{%- endif %}{{
ns.last_query_index }}
{%- for name, args in (messages | selectattr('tool_calls', 'defined') | map(attribute='tool_calls') | sum(start=[]))
| map(attribute='function') | map('items') | map('list') | list %}{{ name }}{{ args }}{% endfor %}""",
    "mistral": """{%- set today = strftime_now('%Y-%m-%d') %}{%- set user_messages = messages | selectattr('role',
'equalto', 'user') | list %}
{%- set ns = namespace(index=0) %}{%- for message in messages %}{%- if message.role == 'user' or (message.role ==
'assistant' and not message.tool_calls) %}
{%- if (message['role'] == 'user') != (ns.index % 2 == 0) %}{{
raise_exception('roles must alternate user and assistant') }}{%- endif %}{%- set ns.index = ns.index + 1 %}{%- endif
%}{%- endfor %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- if tools is not none and tools is defined and
message == user_messages[-1] %}{{ '[AVAILABLE_TOOLS]' + tools | map(attribute='function') | list | tojson +
'[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- for block in ([{'type': 'text', 'text': message.content}] if message.content is string else message.content |
sort(attribute='type')) %}{{ '[INST]' + block.text | default('[IMG]') }}{%- endfor %}
{%- elif message.tool_calls %}{% for c in message.tool_calls %}{%- if c.id is not defined or c.id | length != 9 %}{{
raise_exception('an id of 9 characters') }}{%- endif %}{{ '[TOOL_CALLS]' + c.function.name + '[ARGS]' +
c.function.arguments | tojson }}{% endfor %}{%- endif %}{%- endfor %}{{ today.split('-') | map('int') | list }}{{
today[:4] | int - 1 }}""",
    "gemma": """{%- macro fields(d, keep) -%}{%- for k, v in d | dictsort if k in keep or not keep -%}{{ k }}:{% if
v is mapping %}{ {{- fields(v, []) -}} }
{%- elif v is sequence and v is not string %}[{% for x in v %}{{ x }}{{ ',' if not loop.last }}{% endfor %}]{% elif
v is boolean %}{{ v | lower }}{% elif v is none %}null{% elif v is number %}{{ v }}{% else %}<|"|>{{ v | upper if k
== 'type' else v }}<|"|>{% endif %}{{ '' if loop.last else ',' }}{%- endfor -%}{%- endmacro -%}
{%- for t in tools or [] %}{{ fields(t.function.parameters, ['properties', 'type']) }}{% endfor %}
{%- for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}{{ '<start_of_turn>' ~ role }}{%
for c in m.tool_calls or [] %}{{ '\n' ~ c.function.name ~ '{' ~ fields(c.function.arguments, []) ~ '}' }}{% endfor
%}{{ m.content | trim if m.content is string }}{% endfor %}""",
    "jamba": """{%- set ns = namespace(seen={}, out=[]) %}{%- for m in messages %}{%- set ns.seen = dict(ns.seen,
**{m.role: ns.seen.get(m.role, 0) + 1}) %}{%- set ns.out = ns.out + [loop.cycle('-', '+') ~ m.role] %}{%- endfor %}
{{- ns.seen }}{{ ns.out | join(';') }}{% for role, group in messages | groupby('role') %}{{ role }}={{ group |
length }}{{ group | map(attribute='content') | map('string') | map('length') | sum }}{% endfor %}{% set sep =
joiner('\n---\n') %}{% for m in messages if m.content %}{{ sep() }}{{ m.content if m.content is string else
m.content | selectattr('type', 'eq', 'text') | map(attribute='text') | join(' ') }}{% endfor %}{{ '%-10s|%3d' |
format(messages[0].role if messages else 'none', messages | length) }}""",
}

SCHEMA = {
    "type": "function",
    "function": {
        "name": "plan",
        "description": "Plans\na \u00fcbung ",
        "parameters": {
            "type": "object",
            "properties": {
                "when": {"type": "string", "enum": ["now", "l\u00e4ter"], "default": "now", "description": "Time"},
                "where": {"oneOf": [{"type": "string", "description": "name"}, {"type": "number"}, {"type": "null"}]},
                "many": {"type": ["string", "null"], "default": None},
                "list": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"k": {"type": "array"}}},
                    "nullable": True,
                },
                "deep": {
                    "type": "object",
                    "properties": {"a": {"type": "array", "items": {"type": "integer"}, "default": [1, 2.5]}},
                },
                "flag": {"type": "boolean", "default": True},
            },
            "required": ["when", "list"],
        },
    },
}
EMPTY = {"type": "function", "function": {"name": "ping", "description": None, "parameters": {}}}
