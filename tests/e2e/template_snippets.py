"""Small pieces of the template language, one of each thing that templates may use; rendered with VARIABLES."""

VARIABLES = {
    "wrapped": "Look, goof-ball \u2014 use the -b option--or a two-by-four, e.g. x-y-z!\n\n--\t \u00a0 averylongword-with-one\r\nend ",
    "s": "Hello, World",
    "e": "",
    "pad": "  x y  ",
    "uni": "h\u00e9llo \u65e5\u672c \U0001f389 \u00df\u0130",
    "lines": "a\nb\n\nc\r\nd",
    "n": 7,
    "neg": -3,
    "f": 2.5,
    "t": True,
    "no": False,
    "nil": None,
    "l": [3, 1, 2],
    "words": ["b", "A", "a", "B"],
    "nested": [[1, 2], [3]],
    "empty": [],
    "d": {"b": 1, "a": {"x": [1, 2.0, None, True]}, "C": "z"},
    "dup": [1, 2, 1, 3, 2],
    "users": [
        {"name": "ann", "age": 30, "city": "X", "tags": ["p", "q"]},
        {"name": "Bob", "age": 20, "city": "Y", "tags": []},
        {"name": "cid", "age": 30, "city": "X"},
    ],
    "items": {"items": 1, "keys": 2, "get": 3, "name": "n"},
    "html": "<a href=\"x\">&'</a>",
}

# A line that ends in | goes on.
EXPRESSIONS = """
1 + 2 * 3 - 4 / 2 | 7 // 2 | -7 // 2 | 7 % 3 | -7 % 3 | 7.5 % 2 | 2 ** 10 | 2 ** -1 | 2 ** 3 ** 2 | -2 ** 2 | 10 / 4 |
4 / 2 | 7.0 // 2 | 1e3 | 1_000 | 0x1F | 0o17 | 0b101 | 1.5e-3 | +n | -f | - n
1 == 1.0 | true == 1 | none == none | 'a' < 'b' | [1, 2] < [1, 3] | (1, 2) == (1, 2) | [1] == (1,) |
{'a': 1} == {'a': 1} | 1 < n < 10 | 1 < 2 > 1 == true | n != 7 | 'a' != 'b'
'ell' in s | 'x' not in s | 2 in l | 2 not in l | 'a' in d | not 'a' in d | not t and no | t or no and no |
(t or no) and no | '' or 'x' | 'y' and 'z' | nil or e or 'last' | not nil
'a' if t else 'b' | 'a' if no else 'b' | 'a' if no | ('x' if n > 5 else 'y') ~ 'z' | 'a' if t else 'b' if t else 'c' |
s ~ n ~ f ~ t ~ nil ~ l | 'a' + 'b' | 'ab' * 2 | 2 * 'ab' | [1] + [2] | [0] * 3 | 3 * [1, 2] | (1,) + (2,) |
(1, 2) * 2
l[0] | l[-1] | l[1:] | l[:-1] | l[::-1] | l[::2] | l[5:] | s[1:4] | s[-5:] | s[::-1] | s[100:] | uni[0] | uni[1:3] |
uni[::-1] | s[0] | d['b'] | d.b | d['a'].x[1] | d.a['x'] | d.missing | d['missing'] | users[0].name |
users[0]['tags'][1] | nested[0][1] | (1, 2, 3)[1] | l[n - 6]
missing | missing is defined | missing | default('d') | e | default('d') | e | default('d', true) | nil |
default('d') | nil | d('x', boolean=true) | missing is undefined | missing == missing | missing ~ 'x' | missing |
length | missing | list | missing | join | missing | string | missing | upper
s | upper | s | lower | s | title | s | capitalize | uni | upper | uni | lower | uni | title | uni | capitalize |
"it's o'clock x2y" | title | 'ABC dEF' | capitalize | pad | trim | 'xxaxx' | trim('x') | s | length | uni | length |
l | length | d | length | s | count | s | reverse | l | reverse | list | s | first | l | first | l | last | empty |
first | s | last
l | sort | l | sort(reverse=true) | words | sort | words | sort(case_sensitive=true) | users | sort(attribute='age') |
users | sort(attribute='age,name') | map(attribute='name') | list | users | sort(attribute='name', reverse=true) |
map(attribute='name') | list | dup | unique | list | words | unique | list | words | unique(true) | list | users |
unique(attribute='city') | map(attribute='name') | list
l | sum | users | sum(attribute='age') | l | sum(start=10) | l | min | l | max | words | min | words | max | users |
max(attribute='age') | empty | max | empty | min | empty | sum | l | join | l | join(', ') | users |
join(', ', attribute='name') | words | join('-') | s | join('.') | d | join(',')
users | map(attribute='name') | list | users | map(attribute='tags.0') | list | users |
map(attribute='nope', default='?') | list | words | map('upper') | list | words | map('replace', 'a', 'x') | list |
l | map('string') | join('+') | nested | map('first') | list | nested | map('length') | list | users |
map('attr', 'name') | list | words | map('default', 'z') | list
l | select | list | l | select('odd') | list | l | select('gt', 1) | list | l | reject('even') | list |
[0, 1, '', 'a', none] | select | list | [0, 1, none] | reject | list | users | selectattr('tags') |
map(attribute='name') | list | users | selectattr('age', 'eq', 30) | map(attribute='name') | list | users |
selectattr('age', '>', 20) | list | length | users | rejectattr('city', 'equalto', 'X') | map(attribute='name') |
list | users | selectattr('tags', 'defined') | list | length | users | rejectattr('tags') | map(attribute='name') |
list | words | select('in', ['a', 'b']) | list | words | select('lower') | list | users |
selectattr('name', 'in', ['ann', 'cid']) | list | length
users | groupby('city') | list | users | groupby('age') | map('first') | list | users | groupby('city') |
map(attribute='grouper') | list | users | groupby('city') | map(attribute='list') | map('length') | list | users |
groupby('nope', default='z') | map('first') | list | words | batch(3) | list | words | batch(3, '-') | list | l |
slice(2) | list | [1,2,3,4,5,6,7] | slice(3) | list | [1,2,3,4,5,6,7] | slice(3, 'x') | list
d | dictsort | d | dictsort(true) | d | dictsort(by='value') | {'x': 2, 'y': 1} | dictsort(by='value') |
{'x': 2, 'y': 1} | dictsort(false, 'value', true) | d | items | list | d.items() | list | d.keys() | list |
d.values() | list | d.items() | d.keys() | d.values() | d.get('b') | d.get('zz') | d.get('zz', 5) | items.name |
items.items | length | items['items'] | items['get'] | d | list
n | string | f | string | nil | string | t | string | l | string | d | string | '12' | int | ' 12 ' | int | '12.7' |
int | 'x' | int | 'x' | int(5) | 'x' | int(default=6) | '0x1f' | int(base=16) | '101' | int(0, 2) | f | int | t |
int | nil | int | '2.5' | float | 'x' | float | 'x' | float(1.5) | n | float | '1e3' | float | '-4' | int | '1_0' |
int
2.567 | round | 2.567 | round(2) | 2.5 | round | 3.5 | round | 7 | round | 2.567 | round(1, 'floor') | 2.567 |
round(1, 'ceil') | 1234 | round(-2) | neg | abs | (-2.5) | abs | n | abs
pad | replace(' ', '_') | s | replace('l', 'L', 2) | s | replace('o', '') | 'aaa' | replace('a', 'b', 1) | lines |
indent | lines | indent(2) | lines | indent(2, true) | lines | indent(width=2, first=true, blank=true) | lines |
indent('> ') | 'one two  three' | wordcount | 'abc' | center(9) | 'abc' | center(8) ~ '|'
s | truncate(5) | 'hello big world' | truncate(9) | 'hello big world' | truncate(9, true) | 'hello big world' |
truncate(9, false, '..') | 'hello big world' | truncate(9, true, '', 0) | 'short' | truncate(3) | 'a b c d e f' |
wordwrap(3) | '%s is %d' | format('x', 3) | '%05.2f|%x|%5s|%-5s|' | format(3.14159, 255, 'a', 'b') | html | escape |
html | e | html | striptags | html | safe | html | forceescape | 'a b/c?d=\u00e9&' | urlencode |
{'a': 1, 'b': 'x y'} | urlencode | 1234567 | filesizeformat | 1234567 | filesizeformat(true) | d | xmlattr | l |
random in l | d | pprint
d | tojson | l | tojson | s | tojson | uni | tojson | uni | tojson(ensure_ascii=true) | html | tojson | d |
tojson(indent=2) | d | tojson(indent=0) | d | tojson(2) | d | tojson(indent=4, sort_keys=true) | d |
tojson(sort_keys=true) | d | tojson(separators=(',', ':')) | d | tojson(separators=[',', ': '], indent=1) | empty |
tojson(indent=2) | {} | tojson(indent=2) | [[], {}] | tojson(indent=2) | nil | tojson | t | tojson | f | tojson | n |
tojson | (1, 2) | tojson | {'1': 1, 'k': (1,)} | tojson | {1: 2, none: 3, true: 4, 1.5: 6} | tojson |
'\\u0007\\t\\n\\\\"\\x7f\\u2028' | tojson | 1e20 | tojson | 1e-7 | tojson | 100000000000000000000.0 | tojson |
missing | tojson | users | map(attribute='name') | tojson | d.items() | tojson
s.upper() | s.lower() | s.title() | s.capitalize() | s.swapcase() | pad.strip() | pad.lstrip() | pad.rstrip() |
'xxaxx'.strip('x') | 'abcba'.lstrip('ab') | 'abcba'.rstrip('ab') | s.split() | s.split(', ') | s.split(',', 1) |
s.split('l', maxsplit=2) | s.split(sep='o') | pad.split() | pad.split(' ') | 'a,b,c'.rsplit(',', 1) |
'a b  c '.rsplit() | 'a b  c '.rsplit(none, 1) | 'a b c d'.split(none, 2) | 'a-b-c'.partition('-') |
'a-b-c'.rpartition('-') | 'abc'.partition('x') | 'abc'.rpartition('x') | lines.splitlines() | lines.splitlines(true)
s.startswith('He') | s.endswith('ld') | s.startswith(('x', 'H')) | s.startswith('e', 1) | s.endswith('l', 0, 4) |
s.find('o') | s.find('o', 5) | s.find('zz') | s.rfind('o') | s.index('W') | s.rindex('o') | s.count('l') |
s.count('') | s.count('l', 4) | s.replace('l', 'L') | s.replace('l', 'L', 1) | 'aXbX'.removeprefix('a') |
'aXbX'.removesuffix('X') | 'abc'.removeprefix('x') | ','.join(['a', 'b']) | ''.join(words) | '-'.join('abc') |
'abc'.center(9, '*') | 'abc'.ljust(6) ~ '|' | 'abc'.rjust(6, '.') | '42'.zfill(5) | '-42'.zfill(6) |
'a\tb'.expandtabs() | 'a\tbc\td'.expandtabs(4)
'{} {}'.format('a', 1) | '{0}-{1}-{0}'.format('a', 'b') | '{x}={y}'.format(x=1, y='z') | '{{}}'.format() |
'{:>5}|{:<5}|{:^5}|'.format('a', 'b', 'c') | '{:05.1f}'.format(3.14159) | '{:,}'.format(1234567) |
'{!r}'.format('a') | '{:*^7}'.format('x') | '%s' % 'a' | '%s %s' % ('a', 1) | '%d%%' % 5 | '%.2f' % f |
'%5d|%-5d|%05d' % (1, 2, 3) | '%r' % 'q' | '%x %X %o' % (255, 255, 8) | '%(a)s' % {'a': 1} | '%e' % 12345.678 |
'%g' % 0.0001 | '%+d' % 5 | '%c' % 'x'
'abc'.isalpha() | 'ab1'.isalnum() | '12'.isdigit() | '12'.isnumeric() | '12'.isdecimal() | ' '.isspace() |
'abc'.islower() | 'ABC'.isupper() | 'Abc Def'.istitle() | ''.isalpha() | 'a_b'.isidentifier() | 'ascii'.isascii() |
uni.isascii() | 'abc'.casefold() | 'x'.encode is defined | l.index(1) | l.count(1) | dup.count(2) |
(1, 2, 1).count(1) | l.copy() | d.copy() | 'ab'.translate({97: 'x'}) | uni.title() | uni.upper() | uni.capitalize() |
uni.swapcase()
n is number | n is integer | f is float | n is float | t is boolean | n is boolean | s is string | l is sequence |
d is mapping | d is sequence | l is iterable | s is iterable | n is iterable | nil is none | nil is not none |
n is odd | n is even | n is divisibleby(7) | n is divisibleby 2 | n is eq 7 | n is ne 7 | n is lt(8) | n is le 7 |
n is gt 7 | n is ge 7 | n is equalto 7 | n is sameas n | t is sameas true | t is true | no is false | 1 is true |
s is upper | 'abc' is lower | 'ABC' is upper | 2 is in l | 5 is not in l | missing is not defined |
range is callable | s is callable | 'upper' is filter | 'nope' is filter | 'odd' is test | s is escaped |
d.a is mapping | n is not odd | n is lessthan 8 | n is greaterthan 3 | t is number | l is string
range(3) | list | range(1, 4) | list | range(5, 0, -2) | list | range(3) | range(10)[2] | range(3) | length |
range(1, 7, 2) | sum | 3 in range(5) | range(3) | reverse | list | range(3) | join(',') | range(0) | list |
dict(a=1, b=2) | dict({'x': 1}, y=2) | dict([('a', 1), ('b', 2)]) | namespace(a=1).a | namespace({'q': 2}).q |
lipsum is defined | cycler('a', 'b').next() | joiner(', ')() | (1, 2, 3) | (1,) | () | [] | {} |
{'a': [1, (2, 3)], 'b': none} | ['it\\'s', "q\\"", 'both\\'"'] | '\\n\\t\\x41\\u00e9' | "a" "b" | 1.0 | 1e16 |
123456789.123 | 1e15 | 0.1 + 0.2 | 1e-5 | 0.0001 | 1/3 | 100.0 | 1e22 | 5e-324 | 1.7976931348623157e308 | 2**62 |
9223372036854775807 | -0.0
(l | sort)[0] | (s | upper)[0:3] | s | upper | lower | title | (n > 5) | string | n | string | length | -n | abs |
not e | (1, 2) | first | [s, e] | select | list | length | {'a': 1}['a'] | {'a': 1}.a | [1, 2][0] | 'abc'[1] |
'a' 'b' | upper | d.a.x | last | d | length > 2 | s is string and l is iterable | 'x' if s is string else 'y' |
s.split(',')[0].strip() | lower | users | map(attribute='name') | map('title') | join(' & ') | users |
length if users else 0 | loop is defined | self is defined | true and 'x' | True and False | None is none |
none is none
wrapped | wordwrap | wrapped | wordwrap(8) | wrapped | wordwrap(5, false) | wrapped | wordwrap(7, wrapstring='|') |
wrapped | wordwrap(6, break_on_hyphens=false) | wrapped | wordwrap(3, break_on_hyphens=1) | wrapped | wordwrap(1) |
wrapped | wordwrap(true) | wrapped | wordwrap(0) | e | wordwrap(0) | n | wordwrap | missing | wordwrap | wrapped |
wordwrap('x') | wrapped | wordwrap(4, wrapstring=1) | lines | wordwrap(2, true, '~', false) | uni | wordwrap(3) |
'ab abcdef' | wordwrap(3) | 'ab  abcdef' | wordwrap(3) | '     abc' | wordwrap(3)
nested | sum(start=[]) | [[1], [2]] | sum(start=[0]) | [[1], (2,)] | sum(start=[]) | [(1,), (2,)] | sum(start=()) |
[true, true] | sum | [1, 2.5, 1] | sum | [0.1, 0.2, 0.3] | sum | [1] | sum(start=0.5) | ['a'] | sum | ['a'] | sum(start='') |
[] | sum(start='') | [] | sum(start=true) | [1, none] | sum | users | sum('tags', []) | users[:2] | sum('tags', []) | nested |
sum
html | safe + html | html + html | safe | html | e + html | html | e | e | html | forceescape | e | html | e | forceescape |
'<%s>' | safe % html | '<%s %d>' | safe % (html, 3) | '<%(a)s>' | safe % {'a': html} | '%s' % (html | e) | html | safe ~ html |
'<%s>' | safe | format(html) | '<{}>{:>3}' | safe.format(html, 2) | '<{a}>' | safe.format(a=html) | '<{}>' | safe.format(html | e) |
(html | safe).upper() + html | (html | safe)[1:] + html | (html | safe)[0] + html | (html | safe)[::-1] + html |
(html | safe) * 2 + html | 2 * (html | safe) + html | (html | safe).strip('<') + html | (html | safe).split('=') | s | safe |
(html | safe).split('=')[1] + html | (html | safe).partition('=')[0] + html | (s | safe).join([html, html | e]) |
(html | safe).replace('x', html) | html | safe | replace('x', '<') + html | html | safe | upper + html | html | safe | trim + html |
html | safe | title + html | html | safe | capitalize + html | (html | safe | string) + html | html | safe | reverse + html |
lines | safe | indent + html | lines | safe | indent('<', true) + html | '' | safe | indent('<', true) + html |
'hello big world & more' | safe | truncate(9, true, '<') | 'hello big world' | truncate(9, false, '<' | safe) |
s | safe | first + html | s | safe | last + html | [html | safe, html] | join('&') | [s | safe] | html | safe | tojson |
html | safe is escaped | html is escaped | n | safe + html | (html | safe) + n | html | safe == html | {'a': html | safe} | xmlattr |
'ab' | safe.center(6, '*') + html | s | safe | center(20) + html | 'a' | safe | wordwrap(3) + html | 'x' | safe is upper |
(html | safe).startswith('<') | (html | safe).removeprefix('<a') + html | (s | safe).isalpha() | html | safe in html ~ html |
html | safe | list | first + html | s | safe | urlencode + html | html | safe | default('x') + html |
lines | indent(70) | lines | indent(-3) | lines | indent(true) | missing | indent | n | indent | lines | indent(2.5) |
self.nothing | self.nothing is defined | self.a.b |
nil | map('upper') | list | nil | selectattr('x') | list | 0 | select | list | no | reject | list | e | rejectattr('x') |
list | missing | selectattr('x', 'equalto', 1) | list | length | 5 | select | list |
missing is callable | n is callable | 10 is divisibleby(2.5) | 10.0 is divisibleby(3) | 2.5 is odd | 3.0 is odd | t is odd |
no is even | neg is odd | n is divisibleby(0) | s is even | nil is odd | 10 is divisibleby('x') |
0 | filesizeformat | 1 | filesizeformat | t | filesizeformat | 999.9 | filesizeformat | 1000 | filesizeformat | -5.7 |
filesizeformat | -0.5 | filesizeformat | 1e24 | filesizeformat | 1e30 | filesizeformat | 1023 | filesizeformat(true) |
1024 | filesizeformat(binary=true) | 1e30 | filesizeformat(true) | ' 1_0e3 ' | filesizeformat | 'inf' | filesizeformat |
'nan' | filesizeformat | '-inf' | filesizeformat | 'x' | filesizeformat | nil | filesizeformat | missing |
filesizeformat | 999950 | filesizeformat
{'a': 1, 'b': none, 'c': missing, 'd<': html} | xmlattr | {'a': l} | xmlattr(false) | {} | xmlattr | {'a b': 1} |
xmlattr | {'a=': none} | xmlattr | {'a/': 1} | xmlattr | {' 　': 1.5} | xmlattr(autospace=no) | {1: 2} |
xmlattr | s | xmlattr | missing | xmlattr
""".strip().replace(" |\n", " | ")

STATEMENTS = [
    (
        "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{"
        " loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.depth0 }}{{ lo"
        "op.cycle('a', 'b') }}{{ loop.changed(x) }};{% endfor %}"
    ),
    "{% for x in dup if x > 1 %}{{ x }}{{ loop.length }}{% else %}none{% endfor %}",
    "{% set x = '<' | safe %}{{ x + '&' }}{% set y %}<{% endset %}{{ y + '&' }}{% set ns = namespace(v=x) %}{{ ns.v + '<' }}",
    "{% macro m(a) %}{{ a + '<' }}{% endmacro %}{{ m('&' | safe) }}{{ m('&') | e + '>' }}{{ (m('&' | e)) + '>' }}",
    # A filter or test that nobody knows is no mistake where nobody comes.
    "{% if no %}{{ s | nosuchfilter }}{% endif %}{{ s }}",
    "{% if t %}{{ s | nosuchfilter }}{% endif %}{{ s }}",
    "{% if s is nosuchtest %}{% endif %}",
    "{% if no and s is nosuchtest %}{% elif no %}{{ s | nosuchfilter }}{% else %}b{% endif %}",
    "{% if no %}{% else %}{{ s | nosuchfilter }}{% endif %}",
    "{% if no %}x{% endif %}{{ s | nosuchfilter }}",
    "{{ "+" + ".join(["n"] * 190)+" }}{{ s"+" | trim" * 190+" }}{{ "+" or ".join(["no"] * 190)+" }}",
    "{{ "+"".join(["'a' if no else "] * 100)+"'b' }}",
    # The `if` of a for sees what the rounds before have changed, and what asks for the rest is early.
    (
        "{% set ns = namespace(n=0) %}{% for x in dup if x != ns.n %}{% set ns.n = x %}{{ x }}{{ loop.index }}"
        "{{ loop.previtem }},{% else %}none{% endfor %}{{ ns.n }}"
    ),
    "{% set ns = namespace(n=0) %}{% for x in dup if x != ns.n %}{{ loop.last }}{% set ns.n = x %}{{ x }},{% endfor %}",
    (
        "{% set ns = namespace(n=0) %}{% for x in dup if x > ns.n %}{{ loop.nextitem }}{% set ns.n = 2 %}{{ x }}"
        "{{ loop.revindex }}{{ loop.revindex0 }},{% endfor %}"
    ),
    "{% set ns = namespace(n=0) %}{% for x in dup if x > ns.n %}{{ loop.length }}{% set ns.n = 2 %}{{ x }},{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for x in dup if x > ns.n %}{{ loop | length }}{% set ns.n = 9 %}{{ x }},{% endfor %}",
    "{% for x in dup if x > 9 %}{{ x }}{% else %}none{% endfor %}{% for x in l if loop is defined %}{{ x }}{% endfor %}",
    "{% for y in l %}{% for x in dup if loop.index == x %}{{ y }}{{ x }}{{ loop.last }},{% endfor %}{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] if b > 2 %}{{ a }}{{ loop.first }}{{ loop.last }}{% endfor %}",
    "{% for x in nested if x recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}{% endfor %}",
    "{% for x in dup if x > 1 %}{% if loop.index == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in dup if x.y.z %}{{ x }}{% endfor %}",
    "{% for x in range(10) if x is odd %}{{ x }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 3) }}{% endfor %}",
    "{% for x in empty %}{{ x }}{% else %}none{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d | dictsort %}{{ k }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in s %}{{ c }}-{% endfor %}",
    "{% for (a, b), c in [[[1, 2], 3]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in range(3) %}{% for y in range(x) %}{{ x }}{{ y }}{{ loop.depth }} {% endfor %}{% endfor %}",
    (
        "{% for x in nested recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{{ loop.depth }}{% en"
        "dif %}{% endfor %}"
    ),
    (
        "{% for u in users recursive %}{{ u.name }}{% if u.tags %}({{ loop(u.tags | map('upper') | list) }}){% endi"
        "f %}{% endfor %}"
    ),
    (
        "{% for x in l %}{% if loop.first %}{% continue %}{% endif %}{{ x }}{% if loop.index == 2 %}{% break %}{% e"
        "ndif %}{% endfor %}"
    ),
    "{% for x in l %}{% set y = x %}{% endfor %}{{ y is defined }}",
    "{% set y = 1 %}{% for x in l %}{% set y = y + x %}{{ y }}{% endfor %}{{ y }}",
    (
        "{% set ns = namespace(v=0, l=[]) %}{% for x in l %}{% set ns.v = ns.v + x %}{% set ns.l = ns.l + [x] %}{% "
        "endfor %}{{ ns.v }}{{ ns.l }}"
    ),
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d2) = [3, 4] %}{{ c }}{{ d2 }}{% set x = 1, 2 %}{{ x }}",
    "{% set x %}a{{ n }}b{% endset %}{{ x }}{{ x | length }}",
    "{% set x | upper | trim %} a{{ n }}b {% endset %}[{{ x }}]",
    "{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}",
    "{% if no %}a{% elif t %}b{% else %}c{% endif %}",
    "{% if no %}a{% elif nil %}b{% else %}c{% endif %}",
    "{% if n > 5 and (s or e) %}x{% endif %}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% macro f(a, b=2, *c) %}{{ a }}{% endmacro %}{{ f(1) }}",
    (
        "{% macro f(a, b=2) %}{{ a }},{{ b }},{{ varargs }},{{ kwargs }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f"
        "(b=4, a=5) }}|{{ f(1, 2, 3, 4) }}|{{ f(1, z=9) }}"
    ),
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}",
    "{% macro f(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ n }}{{ caller is defined }}{% endmacro %}{{ f() }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in{{ n }}{% endcall %}",
    "{% macro f(x) %}{{ caller(x, 2) }}{% endmacro %}{% call(a, b) f(1) %}{{ a }}{{ b }}{% endcall %}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}  x  {% endmacro %}[{{ f() | trim }}]{{ f() | length }}{{ f.name }}{{ f.arguments }}",
    "{% set f = 1 %}{% macro g() %}{{ f }}{% endmacro %}{% set f = 2 %}{{ g() }}",
    "{% macro g() %}{% set z = 5 %}{{ z }}{% endmacro %}{{ g() }}{{ z is defined }}",
    (
        "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 1, 'b': 2}) }}{{ f(1, *[2]) }}"
        "{{ f(1, **{'b': 3}) }}"
    ),
    "{% for u in users %}{% macro m() %}{{ u.name }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% filter upper %}abc{{ s }}{% endfilter %}",
    "{% filter replace('a', 'b') | upper %}aXa{% endfilter %}",
    "{% raw %}{{ x }}{% y %}{# z #}{% endraw %}",
    "{% raw -%}  a  {%- endraw %}b",
    "a{# comment #}b{#- c -#} d {#+ e +#}",
    "{% generation %}x{{ n }}{% endgeneration %}",
    "{{- ' a ' -}} b {{+ 'c' }}",
    "  {% if t %}\n  x\n  {% endif %}\ny\n\n",
    "  {%- if t -%}\n  x\n  {%- endif -%}\ny\n",
    "  {%+ if t %}\n  x{% endif +%}\ny",
    "{% if t %}\n\n x{% endif %}\n\n\n",
    "a\n  {# c #}\n  b\n  {{ n }}\n",
    "x {% set a = 1 %} y\n  {% set b = 1 %}  z",
    "{% for x in l -%}\n  {{ x }}\n{%- endfor %}\n!",
    '{{ \'{{\' }}{{ \'%}\' }}{{ "{#" }}',
    "{{ {'a': {'b': 1}}.a.b }}",
    "{{ {'a': '}}'} }}",
    "a\r\nb\rc\n{% if t %}\r\nd{% endif %}\r\n",
    "{{ s\n | upper\n }}{% set\n x\n =\n 1\n %}{{ x }}",
    "{%if t%}a{%endif%}{{s}}{#x#}",
    "{% set x = [1, 2,] %}{{ x }}{{ (1, 2,) }}{{ {'a': 1,} }}",
    "{% set d2 = {'a': 1, **d} %}",
    "{{ [x for x in l] }}",
    "{% block a %}x{% endblock %}",
    "{% autoescape false %}{{ html }}{% endautoescape %}",
    "{% autoescape true %}{{ html }}{% endautoescape %}",
    "{% do l.append(1) %}",
    "{{ l.append(1) }}",
    "{{ d.update({'z': 1}) }}",
    "{{ d.pop('b') }}",
    "{{ s.__class__ }}",
    "{{ s.nope }}",
    "{{ s.nope() }}",
    "{{ missing.x }}",
    "{{ missing() }}",
    "{{ missing + 1 }}",
    "{{ n.x }}",
    "{{ nil.x }}",
    "{{ nil['x'] }}",
    "{{ d.x.y }}",
    "{{ 1 / 0 }}",
    "{{ 'a' + 1 }}",
    "{{ 1 + 'a' }}",
    "{{ 'a' < 1 }}",
    "{{ [1] < ['a'] }}",
    "{{ l[10] }}",
    "{{ l['x'] }}",
    "{{ 'x' in n }}",
    "{{ n in 'x' }}",
    "{{ l | nope }}",
    "{{ l is nope }}",
    "{% nope %}",
    "{% for x in n %}{% endfor %}",
    "{{ raise_exception('a' ~ n) }}",
    "{{ raise_exception() }}",
    "{{ s.index('zz') }}",
    "{{ n | length }}",
    "{{ [1, 'a'] | sort }}",
    "{{ range(3, 'a') }}",
    "{{ }}",
    "{{ a b }}",
    "{% if %}{% endif %}",
    "{% for x %}{% endfor %}",
    "{{ 'a }}",
    "{% if t %}",
    "{% endif %}",
    "{{ (1 }}",
    "{{ [1 }}",
    "{{ {1 }}",
    "{{ 1 + }}",
    "{% set 1 = 2 %}",
    "{% macro %}{% endmacro %}",
    "{# open",
    "{{ x",
    "{% raw %}",
    "{{ a.1.2 }}",
    "{{ | upper }}",
    "{% else %}",
    "{% for x in l %}{% elif %}{% endfor %}",
    "{% break %}",
    "{% set x = %}",
    "{{ f(a=1, 2) }}",
    "{{ f(a=1, a=2) }}",
    "{{ not }}",
    "{{ 1 if }}",
    "{% call 5 %}{% endcall %}",
    "{{ l[ }}",
    "{{ l[] }}",
    "{{ 1..2 }}",
    "{{ 'a'.'b' }}",
    "{{ $ }}",
    "{{ a ? b }}",
    "{{ '\\q' }}",
    "{{ !t }}",
    "{{ t && no }}",
    "{% set x.y = 1 %}",
    "{% set ns = namespace() %}{% set ns.a.b = 1 %}",
    "{% set d.b = 5 %}",
    "{% set true = 1 %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% include 'x' %}",
    "{{ super() }}",
    "{{ strftime_now('%') is string }}",
    "{{ namespace(_a=1) }}",
    "{% set ns = namespace() %}{{ ns.x is defined }}{% set ns.x = 2 %}{{ ns.x }}{{ ns['x'] }}",
    "{{ cycler }}",
    "{% set c = cycler(1, 'b', l) %}{% for x in range(5) %}{{ c.current }}{{ c.next() }}{{ c.pos }};{% endfor %}"
    "{{ c.reset() }}{{ c.next() }}{{ c['next']() }}{{ c.items }}{{ c.nope is defined }}",
    "{% set c = cycler('a', 'b') %}{% set k = c %}{% macro m() %}{{ c.next() }}{% endmacro %}{{ m() }}{{ m() }}"
    "{{ k.next() }}{{ c == k }}{{ c == cycler('a', 'b') }}{{ c | attr('current') }}{{ c is callable }}{{ c is iterable }}",
    "{{ cycler() }}",
    "{{ cycler(a=1).next() }}",
    "{{ cycler(1).next(2) }}",
    "{{ cycler(1)() }}",
    "{{ cycler(1) | length }}",
    "{{ cycler(1) | tojson }}",
    "{% for x in cycler(1, 2) %}{{ x }}{% endfor %}",
    "{% set j = joiner() %}{% for x in l %}{{ j.used }}{{ j() }}{{ x }}{% endfor %}{{ j.sep }}{{ j is callable }}",
    "{% set j = joiner(sep=' | ') %}{% for x in l %}{% if x > 1 %}{{ j() }}{{ x }}{% endif %}{% endfor %}",
    "{% set j = joiner(1) %}{{ j() }}{{ j() + 1 }}{{ j.x is defined }}{{ j['sep'] }}",
    "{{ joiner(1, 2) }}",
    "{{ joiner(x=1) }}",
    "{{ joiner()(1) }}",
    "{{ joiner().nope() }}",
    "{{ l.sort() }}",
    "{{ dict(1) }}",
    "{{ s | replace }}",
    "{{ d[l] }}",
    "{{ {[1]: 2} }}",
    "{{ '%d' % 'a' }}",
    "{{ '%s %s' % 'a' }}",
    "{{ '{}'.format() }}",
    "{{ 'a' | int + 1 }}",
]


def expressions():
    """The table is cut at ` | ` only where what precedes is a whole expression in jinja2's own eyes."""
    import jinja2

    parse = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse
    out = []
    for line in EXPRESSIONS.splitlines():
        pieces = line.split(" | ")
        # Every run of neighbouring pieces that parses, up to four of them: filters make most of these expressions.
        for i in range(len(pieces)):
            for n in range(1, 5):
                text = " | ".join(pieces[i : i + n])
                if i + n > len(pieces):
                    break
                try:
                    parse("{{ " + text + " }}")
                except jinja2.TemplateError:
                    continue
                out.append(text)
    return sorted(set(out))
