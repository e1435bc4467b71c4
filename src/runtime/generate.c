/* generate.c - the decode loop: sample, decode text, look for an end, run the token; runtime.
 *
 * Text goes out as whole code points. Where it could be the beginning of a stop string it is held
 * back until that is decided. */
#include "runtime/session.h"

#include <string.h>

enum { TEXT_SLACK_BYTES = 4096 }; /* what one token decodes to, at most */

typedef struct generation {
    elm_session *session;
    const elm_generate_options *options;
    elm_generate_result *result;
    elm_detokenizer detokenizer;
} generation;

static bool is_eos(const elm_meta *meta, int32_t id) {
    for (uint32_t i = 0; i < meta->n_eos_ids; i++) {
        if (meta->eos_ids[i] == id) return true;
    }
    return false;
}

/* ---- text ---- */

static elm_span stop_string(const generation *g, uint32_t i) {
    return elm_span_str(g->options->stop_strings[i]);
}

/* Room for all that can be held back, so that decoding allocates nothing. */
static elm_status reserve_text(const generation *g, elm_error *err) {
    size_t longest = 0;
    for (uint32_t i = 0; i < g->options->n_stop_strings; i++) {
        elm_span stop = stop_string(g, i);
        if (stop.size > longest) longest = stop.size;
    }
    elm_buf_clear(&g->session->text);
    (void)elm_buf_reserve(&g->session->text, longest + TEXT_SLACK_BYTES);
    return elm_buf_check(&g->session->text, "generated text", err);
}

/* Where the first stop string begins in the held text; size when there is none. */
static size_t find_stop(const generation *g, elm_span text) {
    size_t first = text.size;
    for (uint32_t i = 0; i < g->options->n_stop_strings; i++) {
        elm_span stop = stop_string(g, i);
        if (stop.size == 0) continue;
        for (size_t at = 0; at + stop.size <= text.size && at < first; at++) {
            if (memcmp(text.data + at, stop.data, stop.size) == 0) first = at;
        }
    }
    return first;
}

/* Bytes at the end of the text that could begin a stop string. */
static size_t undecided(const generation *g, elm_span text) {
    size_t longest = 0;
    for (uint32_t i = 0; i < g->options->n_stop_strings; i++) {
        elm_span stop = stop_string(g, i);
        size_t n = stop.size > 0 ? stop.size - 1 : 0;
        for (n = n < text.size ? n : text.size; n > longest; n--) {
            if (memcmp(text.data + text.size - n, stop.data, n) == 0) longest = n;
        }
    }
    return longest;
}

static bool emit(generation *g, size_t n) {
    elm_buf *text = &g->session->text;
    bool go_on = true;
    if (n > 0 && g->options->on_text) {
        go_on = g->options->on_text(g->options->context, (const char *)text->data, n);
    }
    memmove(text->data, text->data + n, text->size - n);
    text->size -= n;
    return go_on;
}

/* Sends out what is decided. `final`: nothing follows. */
static elm_stop_reason flush(generation *g, bool final) {
    elm_span text = elm_buf_span(&g->session->text);
    size_t stop = find_stop(g, text);
    if (stop < text.size) {
        bool go_on = emit(g, stop);
        g->session->text.size = 0;
        return go_on ? ELM_STOP_STRING : ELM_STOP_CALLBACK;
    }
    return emit(g, text.size - (final ? 0 : undecided(g, text))) ? ELM_STOP_NONE
                                                                 : ELM_STOP_CALLBACK;
}

/* ---- tokens ---- */

/* Special tokens are text where the caller asks for them, or where they mark thoughts and calls. */
static bool shows(const generation *g, int32_t id) {
    const elm_model *m = g->session->model;
    return g->options->show_special || !elm_tokenizer_is_special(m->tokenizer, id) ||
           elm_answer_is_marker(&m->meta.answer, elm_tokenizer_spelling(m->tokenizer, id));
}

/* One sampled token: counts it, tells the callbacks, and says whether it ends the text. */
static elm_stop_reason take(generation *g, int32_t id) {
    elm_session *s = g->session;
    bool end = is_eos(&s->model->meta, id) && !g->options->ignore_eos;
    if (g->options->on_token && !g->options->on_token(g->options->context, id)) {
        return ELM_STOP_CALLBACK;
    }
    if (end) return ELM_STOP_EOS;
    s->was_generated[s->n_tokens] = true;
    s->tokens[s->n_tokens++] = id;
    elm_sampler_saw(&s->sampler, id, true);
    g->result->n_tokens++;
    elm_detokenizer_push(s->model->tokenizer, &g->detokenizer, id, !shows(g, id), &s->text);
    elm_stop_reason reason = flush(g, false);
    if (reason != ELM_STOP_NONE) return reason;
    uint32_t most = g->options->max_tokens;
    if (most && g->result->n_tokens >= most) return ELM_STOP_LENGTH;
    return s->n_tokens < s->n_context ? ELM_STOP_NONE : ELM_STOP_CONTEXT;
}

/* Samples from one row of logits. */
static int32_t draw(generation *g, const float *logits) {
    elm_session *s = g->session;
    s->logits = logits;
    int32_t id = elm_sampler_draw(&s->sampler, logits);
    if (s->first_append_us != 0)
        s->stats.first_token_us = elm_now_us(&s->model->platform) - s->first_append_us;
    s->first_append_us = 0;
    return id;
}

static elm_status no_numbers(elm_error *err) {
    return elm_fail(err, ELM_BACKEND,
                    "the model's numbers overflowed: every logit is NaN; an f32 cache (--kv f32) "
                    "holds more than the f16 one");
}

/* Guesses that can still become part of the text: the step's own token is one more. */
static uint32_t room_for_guesses(const generation *g) {
    const elm_session *s = g->session;
    uint32_t room = s->n_context - s->n_tokens - 1, most = g->options->max_tokens;
    if (most && most - g->result->n_tokens - 1 < room) room = most - g->result->n_tokens - 1;
    return room < ELM_MAX_DRAFT ? room : ELM_MAX_DRAFT;
}

/* Runs the pending token with guesses behind it, and samples from every row whose input was right.
 */
static elm_status step(generation *g, elm_error *err) {
    elm_session *s = g->session;
    elm_work work = elm_session_work(s);
    elm_logits rows;
    uint32_t n_guessed = 0, n_right = 0, n_pending = s->n_tokens - s->n_run;
    uint64_t start = s->draft ? elm_now_us(&s->model->platform) : 0;
    elm_status status = ELM_OK;
    if (s->draft) ELM_TRY(elm_draft_propose(s, room_for_guesses(g), &n_guessed, err));
    ELM_TRY(elm_session_step(s, &work, n_pending + n_guessed, n_guessed + 1, n_guessed > 0, &rows,
                             err));
    for (;;) {
        int32_t id = draw(g, rows.first + (size_t)n_right * rows.stride);
        if (id == ELM_NO_TOKEN) {
            g->result->reason = ELM_STOP_NONE;
            status = no_numbers(err);
            break;
        }
        bool right = n_right < n_guessed && s->tokens[s->n_tokens] == id;
        g->result->reason = take(g, id);
        if (g->result->reason != ELM_STOP_NONE || !right) break;
        n_right++;
    }
    if (n_guessed > 0) elm_session_accept(s, n_pending + n_right);
    if (s->draft)
        elm_draft_verified(s, n_guessed, n_right, elm_now_us(&s->model->platform) - start);
    return status;
}

static elm_status loop(generation *g, elm_error *err) {
    elm_session *s = g->session;
    ELM_TRY(elm_session_need_logits(s, err));
    if (s->n_tokens == s->n_context) {
        g->result->reason = ELM_STOP_CONTEXT;
        return ELM_OK;
    }
    int32_t first = draw(g, s->logits);
    if (first == ELM_NO_TOKEN) return no_numbers(err);
    g->result->reason = take(g, first);
    while (g->result->reason == ELM_STOP_NONE) {
        uint64_t start = elm_now_us(&s->model->platform);
        uint32_t before = s->n_run;
        ELM_TRY(step(g, err));
        s->stats.decode_us += elm_now_us(&s->model->platform) - start;
        s->stats.decode_tokens += s->n_run - before;
    }
    return ELM_OK;
}

elm_status elm_session_generate(elm_session *s, const elm_generate_options *options,
                                elm_generate_result *out, elm_error *err) {
    elm_generate_options o;
    elm_generate_result local;
    if (!out) out = &local;
    memset(out, 0, sizeof *out);
    elm_options_copy(&o, sizeof o, options);
    if (s->n_tokens == 0) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "nothing to continue: append at least one token first");
    }
    generation g = {.session = s, .options = &o, .result = out};
    ELM_TRY(reserve_text(&g, err));
    elm_status status = loop(&g, err);
    if (status == ELM_CANCELLED) out->reason = ELM_STOP_CANCELLED, status = ELM_OK;
    if (status != ELM_OK) {
        elm_session_cut_tokens(s, s->n_run);
        return status;
    }
    if (out->reason != ELM_STOP_STRING && out->reason != ELM_STOP_CALLBACK) {
        elm_detokenizer_finish(s->model->tokenizer, &g.detokenizer, &s->text);
        flush(&g, true);
    }
    return elm_buf_check(&s->text, "generated text", err);
}
