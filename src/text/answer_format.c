/* answer_format.c - which markers a model's answers have, by its chat template; text. */
#include "text/answer.h"

static const char *const form_names[ELM_N_CALL_FORMS] = {"none",  "json", "xml",
                                                         "keyed", "list", "bare"};

/* Where the markers of calls are; the first whose words a template has (all of them) counts. */
static const struct {
    const char *words[3];
    elm_call_form form;
    const char *begin, *end;
} call_forms[] = {
    {{"<tool_call>", "<function=", "<parameter="}, ELM_CALLS_XML, "<tool_call>", "</tool_call>"},
    {{"<|tool_call>call:", "<tool_call|>", NULL}, ELM_CALLS_KEYED, "<|tool_call>", "<tool_call|>"},
    {{"<tool_call>", "</tool_call>", "arguments"}, ELM_CALLS_JSON, "<tool_call>", "</tool_call>"},
    {{"[TOOL_CALLS]", NULL, NULL}, ELM_CALLS_LIST, "[TOOL_CALLS]", ""},
    {{"tool_call", "\"parameters\": ", "{\"name\": \""}, ELM_CALLS_BARE, "", ""},
};

static const struct {
    const char *word, *begin, *end;
} thoughts[] = {
    {"<|channel>thought", "<|channel>thought", "<channel|>"},
    {"</think>", "<think>", "</think>"},
    {"[/THINK]", "[THINK]", "[/THINK]"},
    {"<|END_THINKING|>", "<|START_THINKING|>", "<|END_THINKING|>"},
};

static bool mentions(elm_span source, const char *word) {
    size_t n = strlen(word);
    for (size_t at = 0; at + n <= source.size; at++) {
        if (memcmp(source.data + at, word, n) == 0) return true;
    }
    return false;
}

static void set(char to[ELM_MAX_MARKER], const char *text) {
    size_t n = strlen(text);
    memcpy(to, text, n + 1);
}

void elm_answer_format_detect(elm_span source, elm_answer_format *out) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof thoughts / sizeof thoughts[0]; i++) {
        if (!mentions(source, thoughts[i].word)) continue;
        set(out->think_begin, thoughts[i].begin);
        set(out->think_end, thoughts[i].end);
        break;
    }
    for (size_t i = 0; i < sizeof call_forms / sizeof call_forms[0]; i++) {
        bool all = true;
        for (int k = 0; k < 3 && call_forms[i].words[k]; k++)
            all = all && mentions(source, call_forms[i].words[k]);
        if (!all) continue;
        out->calls = call_forms[i].form;
        set(out->call_begin, call_forms[i].begin);
        set(out->call_end, call_forms[i].end);
        return;
    }
}

void elm_answer_format_write(const elm_answer_format *f, elm_json_writer *w) {
    if (f->calls == ELM_CALLS_NONE && !f->think_end[0]) return;
    elm_json_begin_object(w, "answer");
    elm_json_put_str(w, "think_begin", f->think_begin);
    elm_json_put_str(w, "think_end", f->think_end);
    elm_json_put_str(w, "calls", form_names[f->calls]);
    elm_json_put_str(w, "call_begin", f->call_begin);
    elm_json_put_str(w, "call_end", f->call_end);
    elm_json_end_object(w);
}

static elm_status marker(const elm_json *object, const char *key, char out[ELM_MAX_MARKER],
                         elm_error *err) {
    elm_span text = elm_span_str("");
    ELM_TRY(elm_json_string(object, key, "meta.answer", &text, err));
    if (text.size >= ELM_MAX_MARKER || (text.size > 0 && memchr(text.data, 0, text.size)))
        return elm_fail(err, ELM_MALFORMED, "meta.answer: '%s' is no marker", key);
    memcpy(out, text.data, text.size);
    out[text.size] = 0;
    return ELM_OK;
}

elm_status elm_answer_format_read(const elm_json *meta, elm_answer_format *out, elm_error *err) {
    const elm_json *object = elm_json_find(meta, "answer"), *calls = elm_json_find(object, "calls");
    uint32_t form = 0;
    memset(out, 0, sizeof *out);
    if (!object) return ELM_OK;
    ELM_TRY(marker(object, "think_begin", out->think_begin, err));
    ELM_TRY(marker(object, "think_end", out->think_end, err));
    ELM_TRY(marker(object, "call_begin", out->call_begin, err));
    ELM_TRY(marker(object, "call_end", out->call_end, err));
    while (form < ELM_N_CALL_FORMS && !elm_json_is(calls, form_names[form])) form++;
    bool needs_begin = form != ELM_CALLS_NONE && form != ELM_CALLS_BARE;
    bool needs_end = needs_begin && form != ELM_CALLS_LIST;
    if (form == ELM_N_CALL_FORMS || (needs_begin && !out->call_begin[0]) ||
        (needs_end && !out->call_end[0]) || (out->think_begin[0] && !out->think_end[0])) {
        return elm_fail(err, ELM_MALFORMED, "meta.answer: an unknown form of tool calls");
    }
    out->calls = (elm_call_form)form;
    return ELM_OK;
}

bool elm_answer_is_marker(const elm_answer_format *f, elm_span token) {
    const char *markers[] = {f->think_begin,
                             f->think_end,
                             f->call_begin,
                             f->call_end,
                             f->calls == ELM_CALLS_KEYED ? "<|\"|>" : "",
                             f->calls == ELM_CALLS_LIST ? "[ARGS]" : ""};
    char word[ELM_MAX_MARKER];
    if (token.size == 0 || token.size >= sizeof word) return false;
    memcpy(word, token.data, token.size);
    word[token.size] = 0;
    for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++) {
        if (strstr(markers[i], word)) return true;
    }
    return false;
}

bool elm_answer_prompt_thinks(const elm_answer_format *f, elm_span prompt) {
    size_t n = strlen(f->think_begin);
    while (prompt.size > 0 && strchr(" \r\n\t", prompt.data[prompt.size - 1])) prompt.size--;
    return n > 0 && prompt.size >= n &&
           memcmp(prompt.data + prompt.size - n, f->think_begin, n) == 0;
}
