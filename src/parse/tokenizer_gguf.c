/* tokenizer_gguf.c - the vocabulary of a GGUF to a spec; parse.
 *
 * "gpt2" is byte-level BPE; tokenizer.ggml.pre names the pattern, which GGUF does not carry.
 * "llama" is SentencePiece's merging by score. "gemma4" is rank BPE over the same spelling. */
#include "parse/tokenizer_build.h"
#include "parse/tokenizer_spec.h"

#include <string.h>

#define QWEN2_PATTERN                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_PATTERN                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN35_PATTERN                                                            \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| " \
    "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"                                        \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* What tokenizer.ggml.pre stands for: up to two split patterns, and what comes before them. */
static const struct {
    const char *pre;
    const char *first, *second;
    bool nfc, ignore_merges;
} pre_tokenizers[] = {
    {"gpt-2", elm_pattern_gpt2, NULL, false, false},
    {"gpt2", elm_pattern_gpt2, NULL, false, false},
    {"smollm", "\\p{N}", elm_pattern_gpt2, false, false},
    {"starcoder", "\\p{N}", elm_pattern_gpt2, false, false},
    {"refact", "\\p{N}", elm_pattern_gpt2, false, false},
    {"qwen2", QWEN2_PATTERN, NULL, true, false},
    {"qwen35", QWEN35_PATTERN, NULL, true, false},
    {"llama-bpe", LLAMA3_PATTERN, NULL, false, true},
    {"llama3", LLAMA3_PATTERN, NULL, false, true},
    {"llama-v3", LLAMA3_PATTERN, NULL, false, true},
    {"smaug-bpe", LLAMA3_PATTERN, NULL, false, true},
};

enum { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_BYTE = 6 };

typedef struct builder {
    elm_tokenizer_spec s;
    const elm_gguf_vocab *v;
    elm_error *err;
} builder;

static bool is(elm_span text, const char *word) {
    return elm_span_equal(text, elm_span_str(word));
}

static elm_status step(builder *b, elm_step_kind kind, uint32_t a, uint32_t c, const char *text,
                       const char *text2) {
    return elm_spec_step(&b->s, kind, a, c, elm_span_str(text), elm_span_str(text2), b->err);
}

static elm_status split(builder *b, const char *pattern) {
    uint32_t first;
    if (!pattern) return ELM_OK;
    ELM_TRY(elm_spec_pattern(&b->s, elm_span_str(pattern), &first, b->err));
    return step(b, ELM_STEP_SPLIT, first, ELM_SPLIT_ISOLATED, "", "");
}

static elm_status byte_level_steps(builder *b) {
    elm_span pre = b->v->pre.size ? b->v->pre : elm_span_str("gpt-2");
    b->s.flags |= ELM_TOK_BYTE_LEVEL;
    for (size_t i = 0; i < sizeof pre_tokenizers / sizeof pre_tokenizers[0]; i++) {
        if (!is(pre, pre_tokenizers[i].pre)) continue;
        if (pre_tokenizers[i].nfc) ELM_TRY(step(b, ELM_STEP_NFC, 0, 0, "", ""));
        if (pre_tokenizers[i].ignore_merges) b->s.flags |= ELM_TOK_IGNORE_MERGES;
        ELM_TRY(split(b, pre_tokenizers[i].first));
        return split(b, pre_tokenizers[i].second);
    }
    return elm_fail(b->err, ELM_UNSUPPORTED, "the GGUF's pre-tokenizer '%.*s' is not known",
                    (int)(pre.size < 64 ? pre.size : 64), (const char *)pre.data);
}

static elm_status mark_steps(builder *b) {
    b->s.flags |= ELM_TOK_BYTE_FALLBACK;
    ELM_TRY(step(b, ELM_STEP_REPLACE, 0, 0, " ", "\xe2\x96\x81"));
    if (b->v->add_space_prefix) {
        ELM_TRY(step(b, ELM_STEP_PREPEND_FIRST, 0, 0, "\xe2\x96\x81", ""));
        ELM_TRY(step(b, ELM_STEP_DECODE_STRIP_LEFT, 1, 0, "", ""));
    }
    return step(b, ELM_STEP_DECODE_REPLACE, 0, 0, "\xe2\x96\x81", " ");
}

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static elm_status read_tokens(builder *b) {
    elm_tokenizer_spec *s = &b->s;
    for (uint32_t i = 0; i < b->v->n_tokens; i++) {
        elm_span text = b->v->tokens[i];
        int32_t type = b->v->types ? b->v->types[i] : 1;
        if (type == TYPE_CONTROL || type == TYPE_USER_DEFINED) {
            s->token_flags[i] |= ELM_TOKEN_ADDED;
            if (type == TYPE_CONTROL) s->token_flags[i] |= ELM_TOKEN_SPECIAL;
        } else if (s->flags & ELM_TOK_BYTE_LEVEL) {
            uint8_t *raw = elm_arena_alloc(&s->arena, text.size, 1);
            size_t n;
            if (!raw) return elm_fail_oom(b->err, text.size, "the vocabulary");
            if (elm_byte_level_decode(text, raw, &n)) text = elm_span_of(raw, n);
            if (text.size == 1) s->byte_ids[text.data[0]] = (int32_t)i;
        } else if (type == TYPE_BYTE) {
            int high = text.size == 6 ? hex_digit(text.data[3]) : -1,
                low = text.size == 6 ? hex_digit(text.data[4]) : -1;
            if (high < 0 || low < 0)
                return elm_fail(b->err, ELM_MALFORMED,
                                "the GGUF's byte token %u is not spelled <0xXX>", i);
            s->byte_ids[high << 4 | low] = (int32_t)i;
            s->token_flags[i] |= ELM_TOKEN_BYTE;
        } else if (type == TYPE_UNKNOWN && s->unk_id == ELM_NO_TOKEN) {
            s->unk_id = (int32_t)i;
        }
        s->spellings[i] = text;
    }
    return ELM_OK;
}

/* An index of the tokens as GGUF spells them, for the merges. */
typedef struct spelling_index {
    uint32_t *slots, mask;
} spelling_index;

static uint32_t hash_of(elm_span text) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < text.size; i++) h = (h ^ text.data[i]) * 1099511628211u;
    return (uint32_t)(h ^ h >> 32);
}

static bool id_of(const builder *b, const spelling_index *x, elm_span text, uint32_t *id) {
    for (uint32_t slot = hash_of(text) & x->mask; x->slots[slot]; slot = (slot + 1) & x->mask) {
        *id = x->slots[slot] - 1;
        if (elm_span_equal(b->v->tokens[*id], text)) return true;
    }
    return false;
}

static elm_status read_merges(builder *b) {
    spelling_index x = {.mask = 64};
    const elm_gguf_vocab *v = b->v;
    if (v->n_merges > ELM_TOKENIZER_MAX_MERGES || v->n_merges == 0) {
        return elm_fail(b->err, ELM_MALFORMED, "the GGUF has %u merges", v->n_merges);
    }
    while (x.mask < v->n_tokens * 2) x.mask *= 2;
    x.slots = elm_arena_array(&b->s.arena, x.mask, sizeof *x.slots);
    b->s.merges = elm_arena_array(&b->s.arena, (size_t)v->n_merges * 3, sizeof *b->s.merges);
    if (!x.slots || !b->s.merges)
        return elm_fail_oom(b->err, x.mask * sizeof *x.slots, "the merges");
    x.mask--;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        uint32_t slot = hash_of(v->tokens[i]) & x.mask;
        while (x.slots[slot]) slot = (slot + 1) & x.mask;
        x.slots[slot] = i + 1;
    }
    for (uint32_t i = 0; i < v->n_merges; i++) {
        elm_span m = v->merges[i];
        /* A token may itself hold a space only at its beginning: the separator is the first one
         * behind byte 0. */
        const uint8_t *space = m.size > 1 ? memchr(m.data + 1, ' ', m.size - 1) : NULL;
        uint8_t joined[1024];
        size_t n = space ? (size_t)(space - m.data) : 0;
        uint32_t *out = b->s.merges + (size_t)i * 3;
        bool ok = space && m.size <= sizeof joined;
        if (ok) {
            memcpy(joined, m.data, n);
            memcpy(joined + n, space + 1, m.size - n - 1);
        }
        ok = ok && id_of(b, &x, elm_span_of(m.data, n), &out[0]) &&
             id_of(b, &x, elm_span_of(space + 1, m.size - n - 1), &out[1]) &&
             id_of(b, &x, elm_span_of(joined, m.size - 1), &out[2]);
        if (!ok)
            return elm_fail(b->err, ELM_MALFORMED, "the GGUF's merge %u is not made of tokens", i);
    }
    b->s.n_merges = v->n_merges;
    return ELM_OK;
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
    b->s.unk_id = v->unk_id >= 0 && (uint32_t)v->unk_id < v->n_tokens ? v->unk_id : ELM_NO_TOKEN;
    ELM_TRY(byte_level ? byte_level_steps(b) : mark_steps(b));
    ELM_TRY(read_tokens(b));
    if (spm) {
        if (!v->scores)
            return elm_fail(b->err, ELM_MALFORMED, "the GGUF's tokenizer has no scores");
        b->s.scores = elm_arena_array(&b->s.arena, v->n_tokens, sizeof *b->s.scores);
        if (!b->s.scores)
            return elm_fail_oom(b->err, v->n_tokens * sizeof *b->s.scores, "the scores");
        memcpy(b->s.scores, v->scores, v->n_tokens * sizeof *b->s.scores);
    } else {
        ELM_TRY(read_merges(b));
    }
    if (v->add_bos && v->bos_id >= 0 && (uint32_t)v->bos_id < v->n_tokens)
        b->s.prefix[b->s.n_prefix++] = v->bos_id;
    if (v->add_eos && v->eos_id >= 0 && (uint32_t)v->eos_id < v->n_tokens)
        b->s.suffix[b->s.n_suffix++] = v->eos_id;
    return elm_tokenizer_spec_write(&b->s, blob, b->err);
}

elm_status elm_tokenizer_build_gguf(const elm_allocator *alloc, const elm_gguf_vocab *vocab,
                                    elm_buf *blob, elm_error *err) {
    builder b = {.v = vocab, .err = err};
    (void)alloc;
    elm_arena_init(&b.s.arena, blob->alloc, 0);
    elm_status status = build(&b, blob);
    elm_tokenizer_spec_free(&b.s);
    return status;
}
