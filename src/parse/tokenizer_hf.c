/* tokenizer_hf.c - tokenizer.json to a spec: vocabulary, model, added tokens, post-processor;
 * parse. */
#include "parse/tokenizer_build.h"
#include "parse/tokenizer_hf_steps.h"

static const char where[] = ELM_HF_FILE;

/* ---- post-processor ---- */

typedef struct id_list {
    int32_t ids[ELM_MAX_AROUND];
    uint32_t n;
} id_list;

static elm_status special_ids(elm_hf_builder *b, const elm_json *processor, const elm_json *name,
                              id_list *out) {
    const elm_json *tokens = elm_json_find(processor, "special_tokens"), *entry = NULL;
    for (uint32_t i = 0; tokens && tokens->type == ELM_JSON_OBJECT && i < tokens->count && !entry;
         i++) {
        if (elm_span_equal(tokens->as.items[i].key, elm_hf_text(name)))
            entry = &tokens->as.items[i];
    }
    const elm_json *ids = elm_json_find(entry, "ids");
    if (!ids || ids->type != ELM_JSON_ARRAY)
        return elm_hf_refuse(b, "a token without ids in post-processor", processor);
    for (uint32_t i = 0; i < ids->count; i++) {
        const elm_json *id = &ids->as.items[i];
        if (out->n == ELM_MAX_AROUND || id->type != ELM_JSON_INT || id->as.integer < 0 ||
            id->as.integer >= b->s.n_ids) {
            return elm_hf_refuse(b, "an impossible id in post-processor", processor);
        }
        out->ids[out->n++] = (int32_t)id->as.integer;
    }
    return ELM_OK;
}

/* Puts what a template says around what earlier ones said. */
static elm_status wrap(elm_hf_builder *b, const elm_json *p, id_list *before,
                       const id_list *behind) {
    elm_tokenizer_spec *s = &b->s;
    if (before->n + s->n_prefix > ELM_MAX_AROUND || behind->n + s->n_suffix > ELM_MAX_AROUND) {
        return elm_hf_refuse(b, "too many ids in post-processor", p);
    }
    memcpy(before->ids + before->n, s->prefix, s->n_prefix * sizeof s->prefix[0]);
    before->n += s->n_prefix;
    memcpy(s->prefix, before->ids, before->n * sizeof s->prefix[0]);
    s->n_prefix = before->n;
    memcpy(s->suffix + s->n_suffix, behind->ids, behind->n * sizeof s->suffix[0]);
    s->n_suffix += behind->n;
    return ELM_OK;
}

static elm_status post_processor(elm_hf_builder *b, const elm_json *p) {
    const elm_json *type = elm_json_find(p, "type"), *single = elm_json_find(p, "single");
    id_list before = {.n = 0}, behind = {.n = 0};
    uint32_t texts = 0;
    if (elm_json_is(type, "ByteLevel")) return ELM_OK; /* offsets only */
    if (!elm_json_is(type, "TemplateProcessing")) return elm_hf_refuse(b, "post-processor", p);
    for (uint32_t i = 0; single && single->type == ELM_JSON_ARRAY && i < single->count; i++) {
        const elm_json *special = elm_json_find(&single->as.items[i], "SpecialToken");
        const elm_json *text = elm_json_find(&single->as.items[i], "Sequence");
        if (text && elm_json_is(elm_json_find(text, "id"), "A"))
            texts++;
        else if (!special)
            return elm_hf_refuse(b, "a second text in post-processor", p);
        else
            ELM_TRY(special_ids(b, p, elm_json_find(special, "id"), texts ? &behind : &before));
    }
    return texts == 1 ? wrap(b, p, &before, &behind)
                      : elm_hf_refuse(b, "not one text in post-processor", p);
}

/* ---- vocabulary ---- */

/* One entry of the vocabulary: {"text": id} of BPE, or ["text", score] of Unigram. */
typedef struct entry {
    elm_span text;
    int64_t id;
    double score;
} entry;

static bool number_of(const elm_json *v, double *out) {
    if (v->type != ELM_JSON_DOUBLE && v->type != ELM_JSON_INT) return false;
    *out = v->type == ELM_JSON_DOUBLE ? v->as.number : (double)v->as.integer;
    return true;
}

static elm_status entry_of(const elm_hf_builder *b, const elm_json *vocab, uint32_t i, entry *out) {
    const elm_json *v = &vocab->as.items[i];
    *out = (entry){v->key, i, 0};
    bool ok = false;
    if (vocab->type == ELM_JSON_OBJECT && v->type == ELM_JSON_INT) {
        out->id = v->as.integer;
        ok = out->id >= 0 && out->id < ELM_TOKENIZER_MAX_IDS;
    } else if (vocab->type == ELM_JSON_ARRAY && v->type == ELM_JSON_ARRAY && v->count == 2) {
        out->text = elm_hf_text(&v->as.items[0]);
        ok = v->as.items[0].type == ELM_JSON_STRING && number_of(&v->as.items[1], &out->score) &&
             i < ELM_TOKENIZER_MAX_IDS;
    }
    return ok ? ELM_OK
              : elm_fail(b->err, ELM_MALFORMED,
                         "%s:%u: entry %u of the vocabulary has an impossible id or score", where,
                         v->line, i);
}

/* One more than the largest id of the vocabulary and the added tokens. */
static elm_status count_ids(elm_hf_builder *b, const elm_json *vocab, const elm_json *added,
                            uint32_t *out) {
    int64_t most = -1;
    for (uint32_t i = 0; i < vocab->count; i++) {
        entry e;
        ELM_TRY(entry_of(b, vocab, i, &e));
        if (e.id > most) most = e.id;
    }
    for (uint32_t i = 0; added && added->type == ELM_JSON_ARRAY && i < added->count; i++) {
        const elm_json *a = &added->as.items[i];
        int64_t id = -1;
        ELM_TRY(elm_json_int(a, "id", 0, ELM_TOKENIZER_MAX_IDS - 1, where, &id, b->err));
        if (id < 0)
            return elm_fail(b->err, ELM_MALFORMED, "%s:%u: an added token has no id", where,
                            a->line);
        if (id > most) most = id;
    }
    *out = (uint32_t)(most + 1);
    return ELM_OK;
}

/* The spelling of a token: raw bytes behind byte-level stand-ins, text otherwise. What is no row of
 * stand-ins cannot come from a text. */
static elm_status spell(elm_hf_builder *b, uint32_t id, elm_span text) {
    elm_tokenizer_spec *s = &b->s;
    uint8_t byte;
    s->spellings[id] = text;
    s->in_model[id] = 1;
    if (b->byte_level) {
        size_t n;
        uint8_t *raw = elm_arena_alloc(&s->arena, text.size + 1, 1);
        if (!raw) return elm_fail_oom(b->err, text.size, "the vocabulary");
        s->in_model[id] = elm_byte_level_decode(text, raw, &n);
        if (s->in_model[id]) s->spellings[id] = elm_span_of(raw, n);
        if (s->in_model[id] && n == 1) s->byte_ids[raw[0]] = (int32_t)id;
        return ELM_OK;
    }
    if ((s->flags & ELM_TOK_BYTE_FALLBACK) && elm_is_byte_token(text, false, &byte))
        s->byte_ids[byte] = (int32_t)id;
    if (b->byte_tokens && elm_is_byte_token(text, true, &byte))
        s->token_flags[id] |= ELM_TOKEN_BYTE;
    return ELM_OK;
}

static elm_status read_vocab(elm_hf_builder *b, const elm_json *vocab, elm_span *texts) {
    for (uint32_t i = 0; i < vocab->count; i++) {
        entry e;
        ELM_TRY(entry_of(b, vocab, i, &e));
        if (texts[e.id].size > 0) {
            return elm_fail(b->err, ELM_MALFORMED, "%s:%u: two tokens have id %lld", where,
                            vocab->as.items[i].line, (long long)e.id);
        }
        texts[e.id] = e.text;
        if (b->s.scores) b->s.scores[e.id] = e.score;
        ELM_TRY(spell(b, (uint32_t)e.id, e.text));
    }
    return ELM_OK;
}

static elm_status read_added(elm_hf_builder *b, const elm_json *added,
                             const elm_spelling_index *index) {
    elm_tokenizer_spec *s = &b->s;
    for (uint32_t i = 0; added && added->type == ELM_JSON_ARRAY && i < added->count; i++) {
        const elm_json *a = &added->as.items[i];
        int64_t id = 0;
        elm_span content = elm_hf_text(elm_json_find(a, "content"));
        ELM_TRY(elm_json_int(a, "id", 0, ELM_TOKENIZER_MAX_IDS - 1, where, &id, b->err));
        if (content.size == 0) continue; /* Hugging Face skips it too */
        uint32_t known = elm_spelling_index_find(index, content);
        if (known != UINT32_MAX && known != id) {
            return elm_fail(b->err, ELM_MALFORMED,
                            "%s:%u: an added token has id %lld, and id %u in the vocabulary", where,
                            a->line, (long long)id, known);
        }
        uint8_t flags = ELM_TOKEN_ADDED;
        if (elm_hf_flag(a, "special", false)) flags |= ELM_TOKEN_SPECIAL;
        if (elm_hf_flag(a, "lstrip", false)) flags |= ELM_TOKEN_LSTRIP;
        if (elm_hf_flag(a, "rstrip", false)) flags |= ELM_TOKEN_RSTRIP;
        if (elm_hf_flag(a, "single_word", false)) flags |= ELM_TOKEN_SINGLE_WORD;
        if (elm_hf_flag(a, "normalized", true)) s->normalized[id] = content;
        s->token_flags[id] |= flags;
        s->in_model[id] = s->in_model[id] && elm_span_equal(s->spellings[id], content);
        s->spellings[id] = content;
    }
    return ELM_OK;
}

/* ---- models ---- */

/* "a b" or ["a", "b"] */
static bool merge_parts(const elm_json *m, elm_span *a, elm_span *b) {
    if (m->type == ELM_JSON_ARRAY && m->count == 2) {
        *a = elm_hf_text(&m->as.items[0]);
        *b = elm_hf_text(&m->as.items[1]);
    } else if (m->type == ELM_JSON_STRING) {
        elm_span s = m->as.string;
        const uint8_t *space = s.size > 0 ? memchr(s.data, ' ', s.size) : NULL;
        if (!space) return false;
        size_t n = (size_t)(space - s.data);
        *a = elm_span_of(s.data, n);
        *b = elm_span_of(space + 1, s.size - n - 1);
        if (b->size > 0 && memchr(b->data, ' ', b->size)) return false;
    } else {
        return false;
    }
    return a->size > 0 && b->size > 0;
}

static elm_status read_merge(elm_hf_builder *b, const elm_json *m, uint32_t number,
                             const elm_spelling_index *index, elm_buf *joined) {
    elm_span x, y;
    uint32_t *out = b->s.merges + (size_t)b->s.n_merges * 3;
    bool ok = merge_parts(m, &x, &y);
    if (ok) {
        elm_buf_clear(joined);
        elm_buf_append(joined, x.data, x.size);
        elm_buf_append(joined, y.data, y.size);
        ELM_TRY(elm_buf_check(joined, "a merge", b->err));
        out[0] = elm_spelling_index_find(index, x);
        out[1] = elm_spelling_index_find(index, y);
        out[2] = elm_spelling_index_find(index, elm_buf_span(joined));
        ok = out[0] != UINT32_MAX && out[1] != UINT32_MAX && out[2] != UINT32_MAX;
    }
    if (!ok)
        return elm_fail(b->err, ELM_MALFORMED, "%s:%u: merge %u is not made of tokens", where,
                        m->line, number);
    b->s.n_merges++;
    return ELM_OK;
}

static elm_status read_merges(elm_hf_builder *b, const elm_json *merges,
                              const elm_spelling_index *index) {
    elm_buf joined;
    if (!merges || merges->type != ELM_JSON_ARRAY) {
        return elm_fail(b->err, ELM_MALFORMED, "%s: the model has no list of merges", where);
    }
    if (merges->count > ELM_TOKENIZER_MAX_MERGES) {
        return elm_fail(b->err, ELM_UNSUPPORTED, "%s: %u merges; at most %d", where, merges->count,
                        ELM_TOKENIZER_MAX_MERGES);
    }
    b->s.merges = elm_arena_array(&b->s.arena, (size_t)merges->count * 3 + 1, sizeof *b->s.merges);
    if (!b->s.merges) return elm_fail_oom(b->err, (size_t)merges->count * 12, "the merges");
    elm_buf_init(&joined, b->s.arena.alloc, 1 << 20);
    elm_status status = ELM_OK;
    for (uint32_t i = 0; i < merges->count && status == ELM_OK; i++) {
        elm_span text = elm_hf_text(&merges->as.items[i]);
        bool comment = text.size >= 8 && memcmp(text.data, "#version", 8) == 0;
        if (!comment) status = read_merge(b, &merges->as.items[i], i, index, &joined);
    }
    elm_buf_free(&joined);
    return status;
}

static elm_status bpe_options(elm_hf_builder *b, const elm_json *model) {
    static const char *const around[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    double dropout = 0;
    for (int i = 0; i < 2; i++) {
        if (elm_hf_text(elm_json_find(model, around[i])).size == 0) continue;
        return elm_fail(b->err, ELM_UNSUPPORTED, "%s: BPE with %s is not supported", where,
                        around[i]);
    }
    ELM_TRY(elm_json_double(model, "dropout", where, &dropout, b->err));
    if (dropout != 0)
        return elm_fail(b->err, ELM_UNSUPPORTED, "%s: BPE with dropout is not supported", where);
    b->s.model = ELM_MODEL_BPE;
    b->s.ignore_merges = elm_hf_flag(model, "ignore_merges", false);
    if (elm_hf_flag(model, "fuse_unk", false)) b->s.flags |= ELM_TOK_FUSE_UNK;
    return ELM_OK;
}

static elm_status unigram_options(elm_hf_builder *b, const elm_json *model, const elm_json *vocab) {
    int64_t unk = -1;
    double least = 0;
    if (b->byte_level) return elm_hf_refuse(b, "behind ByteLevel, tokenizer model", model);
    b->s.model = ELM_MODEL_UNIGRAM;
    b->s.flags |= ELM_TOK_FUSE_UNK;
    ELM_TRY(elm_json_int(model, "unk_id", 0, (int64_t)vocab->count - 1, where, &unk, b->err));
    if (unk < 0)
        return elm_fail(b->err, ELM_UNSUPPORTED, "%s: Unigram without unk_id is not supported",
                        where);
    b->s.unk_id = (int32_t)unk;
    b->s.scores = elm_arena_array(&b->s.arena, b->s.n_ids, sizeof *b->s.scores);
    if (!b->s.scores) return elm_fail_oom(b->err, b->s.n_ids * sizeof *b->s.scores, "the scores");
    for (uint32_t i = 0; i < vocab->count; i++) {
        entry e;
        ELM_TRY(entry_of(b, vocab, i, &e));
        if (i == 0 || e.score < least) least = e.score;
    }
    b->s.unk_score = least - 10; /* K_UNK_PENALTY */
    return ELM_OK;
}

/* BPE, or Unigram, by the model's type; old files leave the type out when it is BPE. */
static elm_status model_options(elm_hf_builder *b, const elm_json *model, const elm_json *vocab) {
    const elm_json *type = elm_json_find(model, "type");
    bool bpe = elm_json_is(type, "BPE") || (!type && elm_json_find(model, "merges"));
    if (!bpe && !elm_json_is(type, "Unigram")) return elm_hf_refuse(b, "tokenizer model", model);
    if (!vocab || vocab->type != (bpe ? ELM_JSON_OBJECT : ELM_JSON_ARRAY)) {
        return elm_fail(b->err, ELM_MALFORMED, "%s: the model has no vocabulary", where);
    }
    return ELM_OK;
}

static elm_status finish_bpe(elm_hf_builder *b, const elm_json *model,
                             const elm_spelling_index *index) {
    elm_tokenizer_spec *s = &b->s;
    elm_span unk = elm_hf_text(elm_json_find(model, "unk_token"));
    ELM_TRY(read_merges(b, elm_json_find(model, "merges"), index));
    if (unk.size > 0) {
        uint32_t id = elm_spelling_index_find(index, unk);
        if (id == UINT32_MAX)
            return elm_fail(b->err, ELM_MALFORMED, "%s: the vocabulary lacks the unk_token", where);
        s->unk_id = (int32_t)id;
    }
    if (!b->byte_level || !elm_hf_flag(model, "byte_fallback", false)) return ELM_OK;
    for (int i = 0; i < 256; i++) {
        if (s->byte_ids[i] < 0) {
            return elm_fail(b->err, ELM_UNSUPPORTED,
                            "%s: byte_fallback of a ByteLevel vocabulary that lacks byte 0x%02x is "
                            "not supported",
                            where, (unsigned)i);
        }
    }
    return ELM_OK;
}

static elm_status build(elm_hf_builder *b, elm_buf *blob) {
    const elm_json *model = elm_json_find(b->root, "model"), *vocab = elm_json_find(model, "vocab");
    const elm_json *added = elm_json_find(b->root, "added_tokens");
    elm_tokenizer_spec *s = &b->s;
    elm_spelling_index index;
    uint32_t n_ids = 0;
    if (!model) return elm_fail(b->err, ELM_MALFORMED, "%s has no model", where);
    ELM_TRY(model_options(b, model, vocab));
    ELM_TRY(count_ids(b, vocab, added, &n_ids));
    ELM_TRY(elm_tokenizer_spec_init(s, blob->alloc, n_ids, b->err));
    ELM_TRY(elm_hf_normalizer(b, elm_json_find(b->root, "normalizer")));
    ELM_TRY(elm_hf_pre_tokenizer(b, elm_json_find(b->root, "pre_tokenizer")));
    ELM_TRY(elm_hf_decoder(b, elm_json_find(b->root, "decoder")));
    ELM_TRY(elm_hf_each(b, elm_json_find(b->root, "post_processor"), "processors", post_processor));
    if (b->byte_level)
        s->flags |= ELM_TOK_BYTE_LEVEL;
    else if (elm_hf_flag(model, "byte_fallback", false))
        s->flags |= ELM_TOK_BYTE_FALLBACK;
    bool bpe = vocab->type == ELM_JSON_OBJECT;
    ELM_TRY(bpe ? bpe_options(b, model) : unigram_options(b, model, vocab));
    elm_span *texts = elm_arena_array(&s->arena, n_ids, sizeof *texts);
    if (!texts) return elm_fail_oom(b->err, n_ids * sizeof *texts, "the vocabulary");
    ELM_TRY(read_vocab(b, vocab, texts));
    ELM_TRY(elm_spelling_index_make(&s->arena, texts, n_ids, &index, b->err));
    if (bpe) ELM_TRY(finish_bpe(b, model, &index));
    ELM_TRY(read_added(b, added, &index));
    return elm_tokenizer_spec_write(s, blob, b->err);
}

elm_status elm_tokenizer_build_hf(const elm_allocator *alloc, const elm_json *tokenizer_json,
                                  elm_buf *blob, elm_error *err) {
    elm_hf_builder b = {.root = tokenizer_json, .err = err};
    elm_arena_init(&b.s.arena, alloc, 0);
    elm_status status = build(&b, blob);
    elm_tokenizer_spec_free(&b.s);
    return status;
}
