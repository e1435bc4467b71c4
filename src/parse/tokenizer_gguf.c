/* tokenizer_gguf.c - the vocabulary of a GGUF to a spec; parse.
 *
 * "gpt2" is byte-level BPE; tokenizer.ggml.pre names the patterns, which GGUF does not carry.
 * "llama" is SentencePiece's merging by score. "gemma4" is BPE by rank over the same spelling.
 * Added tokens are those that the file calls control, unknown (both special) and user-defined, as
 * in llama.cpp. */
#include "parse/pattern_compile.h"
#include "parse/tokenizer_build.h"
#include "parse/tokenizer_patterns.h"

#define MARK "\xe2\x96\x81" /* U+2581 in the place of a space */

enum {
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_USER_DEFINED = 4,
    TYPE_BYTE = 6,
    MAX_MERGE_BYTES = 1 << 20
};

typedef struct builder {
    elm_tokenizer_spec s;
    const elm_gguf_vocab *v;
    elm_error *err;
} builder;

static bool is(elm_span text, const char *word) {
    return elm_span_equal(text, elm_span_str(word));
}

static elm_status step(builder *b, elm_disk_step s, const char *text, const char *text2) {
    return elm_spec_step(&b->s, s, elm_span_str(text), elm_span_str(text2), b->err);
}

static elm_status byte_level_steps(builder *b) {
    elm_span name = b->v->pre;
    const elm_pre_tokenizer *pre = elm_pre_tokenizer_find(name);
    if (!pre) {
        return elm_fail(b->err, ELM_UNSUPPORTED, "the GGUF's pre-tokenizer '%.*s' is not supported",
                        (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
    }
    b->s.flags |= ELM_TOK_BYTE_LEVEL;
    b->s.ignore_merges = pre->ignore_merges;
    if (pre->nfc)
        ELM_TRY(step(b, (elm_disk_step){.kind = ELM_STEP_NORMALIZE, .a = ELM_FORM_NFC}, "", ""));
    for (int i = 0; i < ELM_MAX_PRE_PATTERNS && pre->patterns[i]; i++) {
        uint32_t program;
        ELM_TRY(elm_spec_pattern(&b->s, elm_span_str(pre->patterns[i]), &program, b->err));
        ELM_TRY(step(b,
                     (elm_disk_step){.kind = ELM_STEP_SPLIT, .a = program, .b = ELM_SPLIT_ISOLATED},
                     "", ""));
    }
    return step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_BYTE_LEVEL}, "", "");
}

static elm_status mark_steps(builder *b) {
    bool prefix = b->v->add_space_prefix;
    b->s.flags |= ELM_TOK_BYTE_FALLBACK;
    if (prefix) ELM_TRY(step(b, (elm_disk_step){.kind = ELM_STEP_PREPEND}, MARK, ""));
    ELM_TRY(step(b, (elm_disk_step){.kind = ELM_STEP_REPLACE}, " ", MARK));
    ELM_TRY(step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_REPLACE}, MARK, " "));
    ELM_TRY(step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_BYTES}, "", ""));
    ELM_TRY(step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_FUSE}, "", ""));
    return prefix ? step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_STRIP, .a = 1}, " ", "")
                  : ELM_OK;
}

static elm_status read_byte_level_token(builder *b, uint32_t id) {
    elm_tokenizer_spec *s = &b->s;
    size_t n;
    uint8_t *raw = elm_arena_alloc(&s->arena, s->spellings[id].size + 1, 1);
    if (!raw) return elm_fail_oom(b->err, s->spellings[id].size, "the vocabulary");
    s->in_model[id] = elm_byte_level_decode(s->spellings[id], raw, &n);
    if (!s->in_model[id]) return ELM_OK;
    s->spellings[id] = elm_span_of(raw, n);
    if (n == 1) s->byte_ids[raw[0]] = (int32_t)id;
    return ELM_OK;
}

/* GGUF cannot say it: all of Phi-3's added tokens but three strip what follows. */
static void strip_as_phi3(elm_tokenizer_spec *s, uint32_t id) {
    static const char *const others[] = {"<unk>", "<s>", "<|endoftext|>"};
    bool strips = (s->token_flags[id] & ELM_TOKEN_ADDED) != 0;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        strips = strips && !is(s->spellings[id], others[i]);
    if (strips) s->token_flags[id] |= ELM_TOKEN_RSTRIP;
}

static elm_status read_tokens(builder *b) {
    elm_tokenizer_spec *s = &b->s;
    for (uint32_t i = 0; i < b->v->n_tokens; i++) {
        int32_t type = b->v->types ? b->v->types[i] : 1;
        uint8_t byte;
        s->spellings[i] = b->v->tokens[i];
        s->in_model[i] = 1;
        if (type == TYPE_CONTROL || type == TYPE_UNKNOWN) {
            s->token_flags[i] = ELM_TOKEN_ADDED | ELM_TOKEN_SPECIAL;
            bool byte_level = (s->flags & ELM_TOK_BYTE_LEVEL) != 0;
            if (type == TYPE_UNKNOWN && s->unk_id == ELM_NO_TOKEN && !byte_level)
                s->unk_id = (int32_t)i;
        } else if (type == TYPE_USER_DEFINED) {
            s->token_flags[i] = ELM_TOKEN_ADDED;
        } else if (s->flags & ELM_TOK_BYTE_LEVEL) {
            ELM_TRY(read_byte_level_token(b, i));
        } else if (type == TYPE_BYTE) {
            if (!elm_is_byte_token(s->spellings[i], true, &byte)) {
                return elm_fail(b->err, ELM_MALFORMED,
                                "the GGUF's byte token %u is not spelled <0xXX>", i);
            }
            s->byte_ids[byte] = (int32_t)i;
            s->token_flags[i] = ELM_TOKEN_BYTE;
            s->in_model[i] = 0;
        }
        if (b->v->phi3_strips) strip_as_phi3(s, i);
    }
    return ELM_OK;
}

static elm_status read_merge(builder *b, uint32_t i, const elm_spelling_index *index,
                             elm_buf *joined) {
    elm_span m = b->v->merges[i];
    uint32_t *out = b->s.merges + (size_t)i * 3;
    /* A token may itself hold a space only at its beginning: the separator is the first one behind
     * byte 0. */
    const uint8_t *space = m.size > 1 ? memchr(m.data + 1, ' ', m.size - 1) : NULL;
    if (space) {
        size_t n = (size_t)(space - m.data);
        elm_buf_clear(joined);
        elm_buf_append(joined, m.data, n);
        elm_buf_append(joined, space + 1, m.size - n - 1);
        ELM_TRY(elm_buf_check(joined, "a merge", b->err));
        out[0] = elm_spelling_index_find(index, elm_span_of(m.data, n));
        out[1] = elm_spelling_index_find(index, elm_span_of(space + 1, m.size - n - 1));
        out[2] = elm_spelling_index_find(index, elm_buf_span(joined));
        if (out[0] != UINT32_MAX && out[1] != UINT32_MAX && out[2] != UINT32_MAX) return ELM_OK;
    }
    return elm_fail(b->err, ELM_MALFORMED, "the GGUF's merge %u is not made of tokens", i);
}

static elm_status read_merges(builder *b) {
    const elm_gguf_vocab *v = b->v;
    elm_spelling_index index;
    if (v->n_merges > ELM_TOKENIZER_MAX_MERGES || v->n_merges == 0) {
        return elm_fail(b->err, ELM_MALFORMED, "the GGUF has %u merges; expected 1..%d",
                        v->n_merges, ELM_TOKENIZER_MAX_MERGES);
    }
    ELM_TRY(elm_spelling_index_make(&b->s.arena, v->tokens, v->n_tokens, &index, b->err));
    b->s.merges = elm_arena_array(&b->s.arena, (size_t)v->n_merges * 3, sizeof *b->s.merges);
    if (!b->s.merges) return elm_fail_oom(b->err, (size_t)v->n_merges * 12, "the merges");
    elm_buf joined;
    elm_status status = ELM_OK;
    elm_buf_init(&joined, b->s.arena.alloc, MAX_MERGE_BYTES);
    for (uint32_t i = 0; i < v->n_merges && status == ELM_OK; i++)
        status = read_merge(b, i, &index, &joined);
    elm_buf_free(&joined);
    b->s.n_merges = v->n_merges;
    return status;
}

static elm_status read_scores(builder *b) {
    if (!b->v->scores) return elm_fail(b->err, ELM_MALFORMED, "the GGUF's tokenizer has no scores");
    b->s.scores = elm_arena_array(&b->s.arena, b->v->n_tokens, sizeof *b->s.scores);
    if (!b->s.scores)
        return elm_fail_oom(b->err, b->v->n_tokens * sizeof *b->s.scores, "the scores");
    for (uint32_t i = 0; i < b->v->n_tokens; i++) b->s.scores[i] = (double)b->v->scores[i];
    return ELM_OK;
}

static bool inside(const elm_gguf_vocab *v, int32_t id) {
    return id >= 0 && (uint32_t)id < v->n_tokens;
}

static elm_status build(builder *b, elm_buf *blob) {
    const elm_gguf_vocab *v = b->v;
    bool spm = is(v->model, "llama"), byte_level = is(v->model, "gpt2"),
         ranked = is(v->model, "gemma4");
    if (!spm && !byte_level && !ranked) {
        return elm_fail(
            b->err, ELM_UNSUPPORTED, "the GGUF's tokenizer model '%.*s' is not supported",
            (int)(v->model.size < 64 ? v->model.size : 64), (const char *)v->model.data);
    }
    ELM_TRY(elm_tokenizer_spec_init(&b->s, blob->alloc, v->n_tokens, b->err));
    b->s.model = spm ? ELM_MODEL_SPM : ELM_MODEL_BPE;
    /* Byte-level, a byte that the vocabulary lacks gives no token, as in llama.cpp. */
    b->s.unk_id = !byte_level && inside(v, v->unk_id) ? v->unk_id : ELM_NO_TOKEN;
    if (ranked) b->s.flags |= ELM_TOK_FUSE_UNK;
    ELM_TRY(byte_level ? byte_level_steps(b) : mark_steps(b));
    ELM_TRY(read_tokens(b));
    ELM_TRY(spm ? read_scores(b) : read_merges(b));
    if (v->add_bos && inside(v, v->bos_id)) b->s.prefix[b->s.n_prefix++] = v->bos_id;
    if (v->add_eos && inside(v, v->eos_id)) b->s.suffix[b->s.n_suffix++] = v->eos_id;
    return elm_tokenizer_spec_write(&b->s, blob, b->err);
}

elm_status elm_tokenizer_build_gguf(const elm_allocator *alloc, const elm_gguf_vocab *vocab,
                                    elm_buf *blob, elm_error *err) {
    builder b = {.v = vocab, .err = err};
    elm_arena_init(&b.s.arena, alloc, 0);
    elm_status status = build(&b, blob);
    elm_tokenizer_spec_free(&b.s);
    return status;
}
