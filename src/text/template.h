/* template.h - chat templates: a Jinja subset in the environment that transformers gives it.
 *
 * trim_blocks and lstrip_blocks are on, loop controls (break, continue) and generation blocks
 * exist, tojson is Python's json.dumps with ensure_ascii=False, raise_exception and strftime_now
 * are functions. A parsed template is immutable and may be rendered by many threads. No host object
 * is reachable. */
#ifndef ELM_TEXT_TEMPLATE_H
#define ELM_TEXT_TEMPLATE_H

#include "base/json.h"
#include "text/parts.h"

typedef struct elm_template elm_template;

enum {
    ELM_TEMPLATE_MAX_SOURCE_BYTES = 1 << 20,
    ELM_TEMPLATE_MAX_OUTPUT_BYTES = 4 << 20,
    ELM_TEMPLATE_MAX_DEPTH = 128, /* nesting of syntax and of calls */
    ELM_TEMPLATE_DEFAULT_FUEL = 10 * 1000 * 1000,
};

typedef struct elm_template_options {
    uint64_t fuel;      /* evaluation steps; 0 = ELM_TEMPLATE_DEFAULT_FUEL */
    int64_t now_unix_s; /* what strftime_now formats, in UTC offset by now_offset_s */
    int32_t now_offset_s;
} elm_template_options;

/* Parses UTF-8 `source` (copied). A construct outside the subset is ELM_UNSUPPORTED, a syntax error
 * ELM_MALFORMED; both messages carry line and column. Free with elm_template_free. */
elm_status elm_template_parse(const elm_allocator *alloc, elm_span source, elm_template **out,
                              elm_error *err) ELM_MUST_CHECK;
void elm_template_free(elm_template *t);

/* Renders with the members of the JSON object `context` as variables (messages, tools,
 * add_generation_prompt, bos_token, ...); jinja's own defaults apply to missing ones (undefined).
 * Strings under `context` are input, but for top-level members named *_token, which are the model's
 * own; text of the template itself is template. What string operations produce keeps the origin of
 * each piece where the piece survives (concatenation, slicing, strip, split, replace, join), and is
 * input where it does not (tojson, upper, ...). Appends to `out`. raise_exception("m") is
 * ELM_INVALID_ARGUMENT with the message m; a runtime type error is ELM_INVALID_ARGUMENT with line
 * and column; running out of fuel, depth or output is ELM_LIMIT. */
elm_status elm_template_render(const elm_template *t, const elm_json *context,
                               const elm_template_options *options, elm_parts *out,
                               elm_error *err) ELM_MUST_CHECK;

#endif
