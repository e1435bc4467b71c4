/* answer.h - reading what a model answers: thinking, text, and tool calls, as they stream; text.
 *
 *   template -> elm_answer_format (at conversion, stored in META as "answer") -> parser -> parts
 *
 * The forms of tool calls; a is the arguments' object:
 *   json      <tool_call>{"name": n, "arguments": a}</tool_call>                  Qwen3, Hermes,
 * Granite xml       <tool_call><function=n><parameter=p>value</parameter></function></tool_call>
 *   keyed     <|tool_call>call:n{key:value,text:<|"|>...<|"|>}<tool_call|>         Gemma 4
 *   list      [TOOL_CALLS][{"name": n, "arguments": a}], [TOOL_CALLS]n[ARGS]a      Mistral
 *   bare      an answer that is {"name": n, "parameters": a} and no more          Llama 3
 * What looks like a call and is none comes out as text, unchanged. */
#ifndef ELM_TEXT_ANSWER_H
#define ELM_TEXT_ANSWER_H

#include "base/json.h"

enum {
    ELM_MAX_MARKER = 32,
    ELM_MAX_ANSWER_BYTES = 16 << 20,
    ELM_MAX_ANSWER_CALLS = 128,
    ELM_MAX_ARGUMENT_DEPTH = 32,
    ELM_MAX_CALL_ENDS = 64, /* end markers that are tried for one call */
    ELM_MAX_HELD_FEEDS = 64,
    ELM_MAX_CALL_HEAD = 256, /* bytes of a call in which its name is looked for while it streams */
};

typedef enum elm_call_form {
    ELM_CALLS_NONE,
    ELM_CALLS_JSON,
    ELM_CALLS_XML,
    ELM_CALLS_KEYED,
    ELM_CALLS_LIST,
    ELM_CALLS_BARE,
    ELM_N_CALL_FORMS
} elm_call_form;

/* What surrounds the parts of an answer; empty: there is no such part. */
typedef struct elm_answer_format {
    char think_begin[ELM_MAX_MARKER], think_end[ELM_MAX_MARKER];
    char call_begin[ELM_MAX_MARKER], call_end[ELM_MAX_MARKER];
    elm_call_form calls;
} elm_answer_format;

/* Finds the markers that a template mentions. */
void elm_answer_format_detect(elm_span template_source, elm_answer_format *out);
/* As member "answer" of META; nothing when there is nothing to say. */
void elm_answer_format_write(const elm_answer_format *f, elm_json_writer *w);
elm_status elm_answer_format_read(const elm_json *meta, elm_answer_format *out,
                                  elm_error *err) ELM_MUST_CHECK;

/* Whether a special token is (part of) a marker, so that the parser needs to see it. */
bool elm_answer_is_marker(const elm_answer_format *f, elm_span token);

/* Whether a prompt ends where the model goes on thinking: the template has opened the block. */
bool elm_answer_prompt_thinks(const elm_answer_format *f, elm_span prompt);

typedef enum elm_answer_kind {
    ELM_ANSWER_TEXT,
    ELM_ANSWER_THOUGHT,
    ELM_ANSWER_TOOL_CALL, /* whole: {"name": ..., "arguments": {...}} */
    ELM_ANSWER_CALL_NAME, /* a call has begun, of this name: TOOL_CALL follows, or TEXT when it was none */
    ELM_N_ANSWER_KINDS
} elm_answer_kind;

/* `text` is valid UTF-8, never empty, borrowed for the call. */
typedef void (*elm_answer_part_fn)(void *context, elm_answer_kind kind, elm_span text);

/* One answer. Line feeds that the template puts around thoughts and calls are no part of them. */
typedef struct elm_answer_parser {
    const elm_answer_format *format;
    const elm_json
        *tools; /* [{"function": {"name", "parameters"}}] tells strings from numbers; or NULL */
    elm_answer_part_fn on_part;
    void *context;
    elm_buf held; /* not decided yet */
    enum { ELM_IN_TEXT, ELM_IN_THOUGHT, ELM_IN_CALL } state;
    bool at_start; /* line feeds are dropped before what comes */
    bool any_text; /* some text has come out: a bare call is no longer possible */
    uint32_t n_calls;
    bool named;      /* the name of the call has been told, or is not looked for any more */
    size_t searched; /* of held, for the end of a call */
    uint32_t n_ends; /* that were tried for it */
    elm_status status;
} elm_answer_parser;

void elm_answer_parser_init(elm_answer_parser *p, const elm_allocator *alloc,
                            const elm_answer_format *format, bool thinking, const elm_json *tools,
                            elm_answer_part_fn on_part, void *context);
void elm_answer_parser_free(elm_answer_parser *p);
/* Text as it is generated, special tokens that are markers included. */
void elm_answer_push(elm_answer_parser *p, elm_span text);
/* The answer has ended; a failure before (memory, ELM_MAX_ANSWER_BYTES) is told here. */
elm_status elm_answer_finish(elm_answer_parser *p, elm_error *err) ELM_MUST_CHECK;

/* What lies between call_begin and call_end, as calls (answer_calls.c): appends {"name": ...,
 * "arguments": ...} objects to `out`, each followed by a zero byte. False when it is no call. */
bool elm_answer_read_calls(elm_call_form form, elm_span text, const elm_json *tools,
                           const elm_allocator *alloc, elm_buf *out);
/* The name of the first call in text that may go on: known from as few bytes as tell it, and the
 * same whatever follows. Names are of letters, digits and _.-; a bare call's is not told, as nothing
 * but its end makes it a call. */
bool elm_answer_call_name(elm_call_form form, elm_span text, elm_span *name);

#endif
