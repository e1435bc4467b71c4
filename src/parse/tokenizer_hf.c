/* tokenizer_hf.c - tokenizer.json to a spec; parse. Whatever the device half does not run is
 * refused by name. */
#include "parse/tokenizer_build.h"
#include "parse/tokenizer_spec.h"

#include <string.h>

static const char where[] = "tokenizer.json";

typedef struct builder {
    elm_tokenizer_spec s;
    const elm_json *root;
    bool byte_level; /* a ByteLevel pre-tokenizer or decoder is there */
    elm_error *err;
} builder;

static const elm_json *type_of(const elm_json *object) {
    return elm_json_find(object, "type");
}

static elm_span text_of(const elm_json *value) {
    return value && value->type == ELM_JSON_STRING ? value->as.string : elm_span_str("");
}

static elm_status refuse(builder *b, const char *what, const elm_json *object) {
    elm_span type = text_of(type_of(object));
    return elm_fail(b->err, ELM_UNSUPPORTED, "%s:%u: %s '%.*s' is not supported", where,
                    object ? object->line : 0, what, (int)(type.size < 64 ? type.size : 64),
                    (const char *)type.data);
}

static bool flag(const elm_json *object, const char *key, bool def) {
    const elm_json *v = elm_json_find(object, key);
    return v && v->type == ELM_JSON_BOOL ? v->as.boolean : def;
}

static elm_status step(builder *b, elm_step_kind kind, uint32_t a, uint32_t c, elm_span text,
                       elm_span text2) {
    return elm_spec_step(&b->s, kind, a, c, text, text2, b->err);
}

static elm_status plain_step(builder *b, elm_step_kind kind) {
    return step(b, kind, 0, 0, elm_span_str(""), elm_span_str(""));
}

/* Calls fn for the object, or for each member of a Sequence's list. */
typedef elm_status (*part_fn)(builder *b, const elm_json *object);

static elm_status each_part(builder *b, const elm_json *object, const char *list_key, part_fn fn) {
    if (!object || object->type == ELM_JSON_NULL) return ELM_OK;
    if (!elm_json_is(type_of(object), "Sequence")) return fn(b, object);
    const elm_json *list = elm_json_find(object, list_key);
    if (!list || list->type != ELM_JSON_ARRAY)
        return refuse(b, "a Sequence without a list in", object);
    for (uint32_t i = 0; i < list->count; i++) {
        if (elm_json_is(type_of(&list->as.items[i]), "Sequence"))
            return refuse(b, "a nested", object);
        ELM_TRY(fn(b, &list->as.items[i]));
    }
    return ELM_OK;
}

/* A pattern object: {"String": "x"} or {"Regex": "..."}. */
static bool pattern_text(const elm_json *pattern, elm_span *text, bool *regex) {
    const elm_json *literal = elm_json_find(pattern, "String"),
                   *re = elm_json_find(pattern, "Regex");
    *regex = re != NULL;
    *text = text_of(re ? re : literal);
    return re != NULL || literal != NULL;
}

/* ---- normalizer ---- */

static elm_status normalizer(builder *b, const elm_json *n) {
    const elm_json *type = type_of(n);
    if (elm_json_is(type, "NFC")) return plain_step(b, ELM_STEP_NFC);
    if (elm_json_is(type, "Prepend")) {
        return step(b, ELM_STEP_PREPEND, 0, 0, text_of(elm_json_find(n, "prepend")),
                    elm_span_str(""));
    }
    if (elm_json_is(type, "Replace")) {
        elm_span from;
        bool regex;
        if (!pattern_text(elm_json_find(n, "pattern"), &from, &regex) || regex || from.size == 0) {
            return refuse(b, "a normalizer by regular expression,", n);
        }
        return step(b, ELM_STEP_REPLACE, 0, 0, from, text_of(elm_json_find(n, "content")));
    }
    return refuse(b, "normalizer", n);
}

/* ---- pre-tokenizer ---- */

static elm_status split_step(builder *b, elm_span pattern, bool regex,
                             elm_split_behavior behavior) {
    uint32_t first;
    ELM_TRY(regex ? elm_spec_pattern(&b->s, pattern, &first, b->err)
                  : elm_spec_literal(&b->s, pattern, &first, b->err));
    return step(b, ELM_STEP_SPLIT, first, (uint32_t)behavior, elm_span_str(""), elm_span_str(""));
}

static elm_status split_regex(builder *b, const char *pattern, elm_split_behavior behavior) {
    return split_step(b, elm_span_str(pattern), true, behavior);
}

static elm_status split_object(builder *b, const elm_json *p) {
    static const struct {
        const char *name;
        elm_split_behavior behavior;
    } behaviors[] = {{"Isolated", ELM_SPLIT_ISOLATED},
                     {"Removed", ELM_SPLIT_REMOVED},
                     {"MergedWithPrevious", ELM_SPLIT_MERGED_PREVIOUS},
                     {"MergedWithNext", ELM_SPLIT_MERGED_NEXT},
                     {"Contiguous", ELM_SPLIT_CONTIGUOUS}};
    elm_span pattern;
    bool regex, invert = flag(p, "invert", false);
    if (!pattern_text(elm_json_find(p, "pattern"), &pattern, &regex) || pattern.size == 0) {
        return refuse(b, "a pre-tokenizer without a pattern,", p);
    }
    for (size_t i = 0; i < sizeof behaviors / sizeof behaviors[0]; i++) {
        elm_split_behavior behavior = behaviors[i].behavior;
        if (!elm_json_is(elm_json_find(p, "behavior"), behaviors[i].name)) continue;
        if (invert && behavior == ELM_SPLIT_REMOVED)
            behavior = ELM_SPLIT_INVERTED_REMOVED;
        else if (invert && behavior != ELM_SPLIT_ISOLATED)
            return refuse(b, "an inverted pre-tokenizer", p);
        return split_step(b, pattern, regex, behavior);
    }
    return refuse(b, "the behaviour of pre-tokenizer", p);
}

/* U+2581 for spaces; the prefix is put in front of the whole text ("first"), of every segment, or
 * never. */
static elm_status metaspace(builder *b, const elm_json *p) {
    elm_span mark = text_of(elm_json_find(p, "replacement"));
    const elm_json *scheme = elm_json_find(p, "prepend_scheme");
    bool prefix = scheme ? !elm_json_is(scheme, "never") : flag(p, "add_prefix_space", true);
    bool first = elm_json_is(scheme, "first");
    if (mark.size == 0) mark = elm_span_str("\xe2\x96\x81");
    ELM_TRY(step(b, ELM_STEP_REPLACE, 0, 0, elm_span_str(" "), mark));
    if (prefix)
        ELM_TRY(step(b, first ? ELM_STEP_PREPEND_FIRST : ELM_STEP_PREPEND, 0, 1, mark,
                     elm_span_str("")));
    return flag(p, "split", true) ? split_step(b, mark, false, ELM_SPLIT_MERGED_NEXT) : ELM_OK;
}

static elm_status pre_tokenizer(builder *b, const elm_json *p) {
    const elm_json *type = type_of(p);
    if (elm_json_is(type, "ByteLevel")) {
        b->byte_level = true;
        if (flag(p, "add_prefix_space", true)) ELM_TRY(plain_step(b, ELM_STEP_PREFIX_SPACE));
        return flag(p, "use_regex", true) ? split_regex(b, elm_pattern_gpt2, ELM_SPLIT_ISOLATED)
                                          : ELM_OK;
    }
    if (elm_json_is(type, "Split")) return split_object(b, p);
    if (elm_json_is(type, "Metaspace")) return metaspace(b, p);
    if (elm_json_is(type, "Digits")) {
        return split_regex(b, flag(p, "individual_digits", false) ? "\\p{N}" : "\\p{N}+",
                           ELM_SPLIT_ISOLATED);
    }
    if (elm_json_is(type, "Punctuation") && elm_json_is(elm_json_find(p, "behavior"), "Isolated")) {
        return split_regex(b, "[\\p{P}$+<=>^`|~]", ELM_SPLIT_ISOLATED);
    }
    if (elm_json_is(type, "WhitespaceSplit")) return split_regex(b, "\\s", ELM_SPLIT_REMOVED);
    return refuse(b, "pre-tokenizer", p);
}

/* ---- decoder ---- */

static elm_status decoder(builder *b, const elm_json *d) {
    const elm_json *type = type_of(d);
    elm_span from;
    bool regex;
    if (elm_json_is(type, "ByteLevel") || elm_json_is(type, "ByteFallback") ||
        elm_json_is(type, "Fuse"))
        return ELM_OK;
    if (elm_json_is(type, "Replace")) {
        if (!pattern_text(elm_json_find(d, "pattern"), &from, &regex) || regex || from.size == 0) {
            return refuse(b, "a decoder by regular expression,", d);
        }
        return step(b, ELM_STEP_DECODE_REPLACE, 0, 0, from, text_of(elm_json_find(d, "content")));
    }
    if (elm_json_is(type, "Metaspace")) {
        const elm_json *scheme = elm_json_find(d, "prepend_scheme");
        bool prefix = scheme ? !elm_json_is(scheme, "never") : flag(d, "add_prefix_space", true);
        elm_span mark = text_of(elm_json_find(d, "replacement"));
        if (prefix)
            ELM_TRY(step(b, ELM_STEP_DECODE_STRIP_LEFT, 1, 0, elm_span_str(""), elm_span_str("")));
        return step(b, ELM_STEP_DECODE_REPLACE, 0, 0, mark, elm_span_str(" "));
    }
    if (elm_json_is(type, "Strip")) {
        int64_t start = 0, stop = 0;
        ELM_TRY(elm_json_int(d, "start", 0, 64, where, &start, b->err));
        ELM_TRY(elm_json_int(d, "stop", 0, 64, where, &stop, b->err));
        if (stop != 0 || !elm_json_is(elm_json_find(d, "content"), " "))
            return refuse(b, "decoder", d);
        return step(b, ELM_STEP_DECODE_STRIP_LEFT, (uint32_t)start, 0, elm_span_str(""),
                    elm_span_str(""));
    }
    return refuse(b, "decoder", d);
}

/* ---- post-processor ---- */

static elm_status special_ids(builder *b, const elm_json *processor, const elm_json *name,
                              int32_t *out, uint32_t *n) {
    const elm_json *tokens = elm_json_find(processor, "special_tokens"), *entry = NULL;
    for (uint32_t i = 0; tokens && tokens->type == ELM_JSON_OBJECT && i < tokens->count && !entry;
         i++) {
        if (elm_span_equal(tokens->as.items[i].key, text_of(name))) entry = &tokens->as.items[i];
    }
    const elm_json *ids = elm_json_find(entry, "ids");
    if (!ids || ids->type != ELM_JSON_ARRAY)
        return refuse(b, "a token without ids in post-processor", processor);
    for (uint32_t i = 0; i < ids->count; i++) {
        const elm_json *id = &ids->as.items[i];
        if (*n == 16 || id->type != ELM_JSON_INT || id->as.integer < 0 ||
            id->as.integer >= b->s.n_ids) {
            return refuse(b, "an impossible id in post-processor", processor);
        }
        out[(*n)++] = (int32_t)id->as.integer;
    }
    return ELM_OK;
}

static elm_status post_processor(builder *b, const elm_json *p) {
    if (elm_json_is(type_of(p), "ByteLevel")) return ELM_OK; /* offsets only */
    if (!elm_json_is(type_of(p), "TemplateProcessing")) return refuse(b, "post-processor", p);
    const elm_json *single = elm_json_find(p, "single");
    bool seen = false;
    for (uint32_t i = 0; single && single->type == ELM_JSON_ARRAY && i < single->count; i++) {
        const elm_json *special = elm_json_find(&single->as.items[i], "SpecialToken");
        if (elm_json_find(&single->as.items[i], "Sequence"))
            seen = true;
        else if (!special)
            return refuse(b, "post-processor", p);
        else if (seen)
            ELM_TRY(special_ids(b, p, elm_json_find(special, "id"), b->s.suffix, &b->s.n_suffix));
        else
            ELM_TRY(special_ids(b, p, elm_json_find(special, "id"), b->s.prefix, &b->s.n_prefix));
    }
    return seen ? ELM_OK : refuse(b, "post-processor", p);
}

/* ---- vocabulary ---- */

static elm_status bad_id(builder *b, const char *what) {
    return elm_fail(b->err, ELM_MALFORMED, "%s: %s has an impossible id", where, what);
}

/* One more than the largest id of the vocabulary and the added tokens. */
static elm_status count_ids(builder *b, const elm_json *vocab, const elm_json *added,
                            uint32_t *out) {
    int64_t most = -1;
    for (uint32_t i = 0; i < vocab->count; i++) {
        const elm_json *id = &vocab->as.items[i];
        if (id->type != ELM_JSON_INT || id->as.integer < 0 ||
            id->as.integer >= ELM_TOKENIZER_MAX_IDS) {
            return bad_id(b, "the vocabulary");
        }
        if (id->as.integer > most) most = id->as.integer;
    }
    for (uint32_t i = 0; added && added->type == ELM_JSON_ARRAY && i < added->count; i++) {
        int64_t id = -1;
        ELM_TRY(elm_json_int(&added->as.items[i], "id", 0, ELM_TOKENIZER_MAX_IDS - 1, where, &id,
                             b->err));
        if (id < 0) return bad_id(b, "an added token");
        if (id > most) most = id;
    }
    *out = (uint32_t)(most + 1);
    return ELM_OK;
}

static bool is_byte_token(elm_span s, uint32_t *byte) {
    static const char hex[] = "0123456789ABCDEF";
    if (s.size != 6 || memcmp(s.data, "<0x", 3) != 0 || s.data[5] != '>') return false;
    const char *high = memchr(hex, s.data[3], 16), *low = memchr(hex, s.data[4], 16);
    if (!high || !low) return false;
    *byte = (uint32_t)((high - hex) << 4 | (low - hex));
    return true;
}

/* Spellings: raw bytes behind byte-level stand-ins, text otherwise. */
static elm_status read_vocab(builder *b, const elm_json *vocab) {
    elm_tokenizer_spec *s = &b->s;
    for (uint32_t i = 0; i < vocab->count; i++) {
        elm_span text = vocab->as.items[i].key;
        uint32_t id = (uint32_t)vocab->as.items[i].as.integer, byte;
        if (b->byte_level) {
            uint8_t *raw = elm_arena_alloc(&s->arena, text.size, 1);
            size_t n;
            if (!raw) return elm_fail_oom(b->err, text.size, "the vocabulary");
            if (elm_byte_level_decode(text, raw, &n)) text = elm_span_of(raw, n);
            if (text.size == 1 && n == 1) s->byte_ids[text.data[0]] = (int32_t)id;
        } else if ((s->flags & ELM_TOK_BYTE_FALLBACK) && is_byte_token(text, &byte)) {
            s->byte_ids[byte] = (int32_t)id;
            s->token_flags[id] |= ELM_TOKEN_BYTE;
        }
        s->spellings[id] = text;
    }
    return ELM_OK;
}

static elm_status read_added(builder *b, const elm_json *added) {
    elm_tokenizer_spec *s = &b->s;
    for (uint32_t i = 0; added && added->type == ELM_JSON_ARRAY && i < added->count; i++) {
        const elm_json *a = &added->as.items[i];
        int64_t id = 0;
        elm_span content = text_of(elm_json_find(a, "content"));
        ELM_TRY(elm_json_int(a, "id", 0, ELM_TOKENIZER_MAX_IDS - 1, where, &id, b->err));
        if (content.size == 0)
            return elm_fail(b->err, ELM_MALFORMED, "%s:%u: an added token is empty", where,
                            a->line);
        uint8_t flags = ELM_TOKEN_ADDED;
        if (flag(a, "special", false))
            flags |= ELM_TOKEN_SPECIAL;
        else if (flag(a, "normalized", true))
            flags |= ELM_TOKEN_NORMALIZED;
        if (flag(a, "lstrip", false)) flags |= ELM_TOKEN_LSTRIP;
        if (flag(a, "rstrip", false)) flags |= ELM_TOKEN_RSTRIP;
        if (flag(a, "single_word", false)) flags |= ELM_TOKEN_SINGLE_WORD;
        s->spellings[id] = content;
        s->token_flags[id] = (uint8_t)((s->token_flags[id] & ELM_TOKEN_BYTE) | flags);
    }
    return ELM_OK;
}

/* ---- merges ---- */

typedef struct id_table {
    const elm_json *vocab;
    uint32_t *slots, mask;
} id_table;

static uint64_t hash_of(elm_span text) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < text.size; i++) h = (h ^ text.data[i]) * 1099511628211u;
    return h ^ h >> 32;
}

static elm_status make_table(builder *b, const elm_json *vocab, id_table *out) {
    uint32_t n = 64;
    while (n < vocab->count * 2) n *= 2;
    out->vocab = vocab;
    out->mask = n - 1;
    out->slots = elm_arena_array(&b->s.arena, n, sizeof *out->slots);
    if (!out->slots) return elm_fail_oom(b->err, n * sizeof *out->slots, "the vocabulary");
    for (uint32_t i = 0; i < vocab->count; i++) {
        uint32_t slot = (uint32_t)hash_of(vocab->as.items[i].key) & out->mask;
        while (out->slots[slot]) slot = (slot + 1) & out->mask;
        out->slots[slot] = i + 1;
    }
    return ELM_OK;
}

static bool id_of(const id_table *t, elm_span text, uint32_t *id) {
    for (uint32_t slot = (uint32_t)hash_of(text) & t->mask; t->slots[slot];
         slot = (slot + 1) & t->mask) {
        const elm_json *entry = &t->vocab->as.items[t->slots[slot] - 1];
        if (!elm_span_equal(entry->key, text)) continue;
        *id = (uint32_t)entry->as.integer;
        return true;
    }
    return false;
}

/* "a b" or ["a", "b"] */
static bool merge_parts(const elm_json *m, elm_span *a, elm_span *b) {
    if (m->type == ELM_JSON_ARRAY && m->count == 2) {
        *a = text_of(&m->as.items[0]);
        *b = text_of(&m->as.items[1]);
    } else if (m->type == ELM_JSON_STRING) {
        const uint8_t *space = memchr(m->as.string.data, ' ', m->as.string.size);
        if (!space) return false;
        size_t n = (size_t)(space - m->as.string.data);
        *a = elm_span_of(m->as.string.data, n);
        *b = elm_span_of(space + 1, m->as.string.size - n - 1);
    } else {
        return false;
    }
    return a->size > 0 && b->size > 0;
}

static elm_status read_merges(builder *b, const elm_json *vocab, const elm_json *merges) {
    id_table table;
    elm_buf joined;
    if (!merges || merges->type != ELM_JSON_ARRAY)
        return elm_fail(b->err, ELM_MALFORMED, "%s: the model has no merges", where);
    if (merges->count > ELM_TOKENIZER_MAX_MERGES)
        return elm_fail(b->err, ELM_UNSUPPORTED, "%s: too many merges", where);
    ELM_TRY(make_table(b, vocab, &table));
    b->s.merges = elm_arena_array(&b->s.arena, (size_t)merges->count * 3, sizeof *b->s.merges);
    if (!b->s.merges) return elm_fail_oom(b->err, (size_t)merges->count * 12, "the merges");
    elm_buf_init(&joined, b->s.arena.alloc, 1 << 20);
    elm_status status = ELM_OK;
    for (uint32_t i = 0; i < merges->count && status == ELM_OK; i++) {
        elm_span x = {0}, y = {0};
        uint32_t *m = b->s.merges + (size_t)i * 3;
        bool ok = merge_parts(&merges->as.items[i], &x, &y);
        joined.size = 0;
        elm_buf_append(&joined, x.data, x.size);
        elm_buf_append(&joined, y.data, y.size);
        ok = ok && id_of(&table, x, &m[0]) && id_of(&table, y, &m[1]) &&
             id_of(&table, elm_buf_span(&joined), &m[2]);
        if (!ok) {
            status = elm_fail(b->err, ELM_MALFORMED, "%s:%u: merge %u is not made of tokens", where,
                              merges->as.items[i].line, i);
        }
    }
    elm_buf_free(&joined);
    b->s.n_merges = merges->count;
    return status;
}

static elm_status check_model(builder *b, const elm_json *model) {
    if (!elm_json_is(type_of(model), "BPE")) {
        /* Old files leave the type out when it is BPE. */
        if (type_of(model) || !elm_json_find(model, "merges"))
            return refuse(b, "tokenizer model", model);
    }
    const elm_json *prefix = elm_json_find(model, "continuing_subword_prefix");
    const elm_json *suffix = elm_json_find(model, "end_of_word_suffix");
    if (text_of(prefix).size > 0 || text_of(suffix).size > 0) {
        return elm_fail(b->err, ELM_UNSUPPORTED,
                        "%s: continuing_subword_prefix and end_of_word_suffix are not supported",
                        where);
    }
    if (flag(model, "byte_fallback", false)) b->s.flags |= ELM_TOK_BYTE_FALLBACK;
    if (flag(model, "ignore_merges", false)) b->s.flags |= ELM_TOK_IGNORE_MERGES;
    if (flag(model, "fuse_unk", false)) b->s.flags |= ELM_TOK_FUSE_UNK;
    return ELM_OK;
}

static elm_status build(builder *b, elm_buf *blob) {
    const elm_json *model = elm_json_find(b->root, "model"), *vocab = elm_json_find(model, "vocab");
    const elm_json *added = elm_json_find(b->root, "added_tokens"),
                   *unk = elm_json_find(model, "unk_token");
    uint32_t n_ids = 0;
    if (!model) return elm_fail(b->err, ELM_MALFORMED, "%s has no model", where);
    if (!vocab || vocab->type != ELM_JSON_OBJECT) {
        return elm_json_is(type_of(model), "BPE") || !type_of(model)
                   ? elm_fail(b->err, ELM_MALFORMED, "%s: the model has no vocabulary", where)
                   : refuse(b, "tokenizer model", model);
    }
    ELM_TRY(count_ids(b, vocab, added, &n_ids));
    const elm_allocator *alloc = blob->alloc;
    ELM_TRY(elm_tokenizer_spec_init(&b->s, alloc, n_ids, b->err));
    ELM_TRY(check_model(b, model));
    ELM_TRY(each_part(b, elm_json_find(b->root, "normalizer"), "normalizers", normalizer));
    ELM_TRY(each_part(b, elm_json_find(b->root, "pre_tokenizer"), "pretokenizers", pre_tokenizer));
    ELM_TRY(each_part(b, elm_json_find(b->root, "decoder"), "decoders", decoder));
    ELM_TRY(each_part(b, elm_json_find(b->root, "post_processor"), "processors", post_processor));
    if (b->byte_level) b->s.flags |= ELM_TOK_BYTE_LEVEL;
    ELM_TRY(read_vocab(b, vocab));
    ELM_TRY(read_merges(b, vocab, elm_json_find(model, "merges")));
    for (uint32_t i = 0; unk && i < vocab->count; i++) {
        if (elm_span_equal(vocab->as.items[i].key, text_of(unk)))
            b->s.unk_id = (int32_t)vocab->as.items[i].as.integer;
    }
    ELM_TRY(read_added(b, added));
    return elm_tokenizer_spec_write(&b->s, blob, b->err);
}

elm_status elm_tokenizer_build_hf(const elm_allocator *alloc, const elm_json *tokenizer_json,
                                  elm_buf *blob, elm_error *err) {
    builder b = {.root = tokenizer_json, .err = err};
    (void)alloc;
    elm_arena_init(&b.s.arena, blob->alloc, 0);
    elm_status status = build(&b, blob);
    elm_tokenizer_spec_free(&b.s);
    return status;
}
