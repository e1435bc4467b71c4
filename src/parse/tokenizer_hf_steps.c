/* tokenizer_hf_steps.c - the steps of a tokenizer.json; parse. What the device half does not run is
 * refused by name. */
#include "parse/tokenizer_hf_steps.h"

#include "base/utf8.h"
#include "parse/pattern_compile.h"
#include "parse/tokenizer_patterns.h"

enum { MAX_SEQUENCES_DEEP = 8 };

static const elm_json *type_of(const elm_json *object) {
    return elm_json_find(object, "type");
}

elm_status elm_hf_refuse(const elm_hf_builder *b, const char *what, const elm_json *object) {
    elm_span type = elm_hf_text(type_of(object));
    int n = (int)(type.size < 64 ? type.size : 64);
    return elm_fail(b->err, ELM_UNSUPPORTED, ELM_HF_FILE ":%u: %s '%.*s' is not supported",
                    object ? object->line : 0, what, n, (const char *)type.data);
}

elm_span elm_hf_text(const elm_json *value) {
    return value && value->type == ELM_JSON_STRING ? value->as.string : elm_span_str("");
}

bool elm_hf_flag(const elm_json *object, const char *key, bool otherwise) {
    const elm_json *v = elm_json_find(object, key);
    return v && v->type == ELM_JSON_BOOL ? v->as.boolean : otherwise;
}

elm_status elm_hf_each(elm_hf_builder *b, const elm_json *object, const char *list_key,
                       elm_hf_part fn) {
    if (!object || object->type == ELM_JSON_NULL) return ELM_OK;
    if (!elm_json_is(type_of(object), "Sequence")) return fn(b, object);
    const elm_json *list = elm_json_find(object, list_key);
    if (!list || list->type != ELM_JSON_ARRAY)
        return elm_hf_refuse(b, "a part without its list,", object);
    if (b->depth == MAX_SEQUENCES_DEEP) return elm_hf_refuse(b, "a deeply nested", object);
    b->depth++;
    for (uint32_t i = 0; i < list->count; i++)
        ELM_TRY(elm_hf_each(b, &list->as.items[i], list_key, fn));
    b->depth--;
    return ELM_OK;
}

static elm_status step(elm_hf_builder *b, elm_disk_step s) {
    return elm_spec_step(&b->s, s, elm_span_str(""), elm_span_str(""), b->err);
}

static elm_status text_step(elm_hf_builder *b, elm_disk_step s, elm_span text, elm_span text2) {
    return elm_spec_step(&b->s, s, text, text2, b->err);
}

/* A pattern object: {"String": "x"} or {"Regex": "..."}. */
static elm_status pattern_of(elm_hf_builder *b, const elm_json *part, elm_span *text, bool *regex) {
    const elm_json *pattern = elm_json_find(part, "pattern");
    const elm_json *literal = elm_json_find(pattern, "String"),
                   *re = elm_json_find(pattern, "Regex");
    *regex = re != NULL;
    *text = elm_hf_text(re ? re : literal);
    return text->size > 0 ? ELM_OK : elm_hf_refuse(b, "an empty pattern in", part);
}

/* ---- normalizer ---- */

static elm_status replace_step(elm_hf_builder *b, const elm_json *n) {
    elm_span from, to = elm_hf_text(elm_json_find(n, "content"));
    bool regex;
    uint32_t program;
    ELM_TRY(pattern_of(b, n, &from, &regex));
    if (!regex) return text_step(b, (elm_disk_step){.kind = ELM_STEP_REPLACE}, from, to);
    ELM_TRY(elm_spec_pattern(&b->s, from, &program, b->err));
    return text_step(b, (elm_disk_step){.kind = ELM_STEP_REPLACE_PATTERN, .a = program},
                     elm_span_str(""), to);
}

static elm_status normalizer(elm_hf_builder *b, const elm_json *n) {
    static const char *const forms[ELM_N_FORMS] = {"NFC", "NFD", "NFKC", "NFKD"};
    const elm_json *type = type_of(n);
    for (uint32_t i = 0; i < ELM_N_FORMS; i++) {
        if (elm_json_is(type, forms[i]))
            return step(b, (elm_disk_step){.kind = ELM_STEP_NORMALIZE, .a = i});
    }
    if (elm_json_is(type, "Lowercase")) return step(b, (elm_disk_step){.kind = ELM_STEP_LOWERCASE});
    if (elm_json_is(type, "StripAccents"))
        return step(b, (elm_disk_step){.kind = ELM_STEP_STRIP_MARKS});
    if (elm_json_is(type, "Strip")) {
        uint32_t left = elm_hf_flag(n, "strip_left", true),
                 right = elm_hf_flag(n, "strip_right", true);
        return step(b, (elm_disk_step){.kind = ELM_STEP_STRIP, .a = left, .b = right});
    }
    if (elm_json_is(type, "Prepend")) {
        elm_span text = elm_hf_text(elm_json_find(n, "prepend"));
        return text_step(b, (elm_disk_step){.kind = ELM_STEP_PREPEND}, text, elm_span_str(""));
    }
    if (elm_json_is(type, "Replace")) return replace_step(b, n);
    /* A map of characters that maps none. */
    const elm_json *map = elm_json_get(n, "precompiled_charsmap");
    if (elm_json_is(type, "Precompiled") && map && elm_hf_text(map).size == 0) return ELM_OK;
    return elm_hf_refuse(b, "normalizer", n);
}

elm_status elm_hf_normalizer(elm_hf_builder *b, const elm_json *n) {
    return elm_hf_each(b, n, "normalizers", normalizer);
}

/* ---- pre-tokenizer ---- */

static elm_status split_at(elm_hf_builder *b, uint32_t program, elm_split_behavior behavior,
                           bool invert) {
    return step(b, (elm_disk_step){
                       .kind = ELM_STEP_SPLIT, .a = program, .b = (uint32_t)behavior, .c = invert});
}

static elm_status behavior_of(elm_hf_builder *b, const elm_json *p, elm_split_behavior *out) {
    static const char *const names[ELM_N_SPLITS] = {"Isolated", "Removed", "MergedWithPrevious",
                                                    "MergedWithNext", "Contiguous"};
    for (int i = 0; i < ELM_N_SPLITS; i++) {
        *out = (elm_split_behavior)i;
        if (elm_json_is(elm_json_find(p, "behavior"), names[i])) return ELM_OK;
    }
    return elm_hf_refuse(b, "the behavior of pre-tokenizer", p);
}

static elm_status split_step(elm_hf_builder *b, const elm_json *p) {
    elm_span pattern;
    elm_split_behavior behavior;
    bool regex;
    uint32_t program;
    ELM_TRY(pattern_of(b, p, &pattern, &regex));
    ELM_TRY(behavior_of(b, p, &behavior));
    ELM_TRY(regex ? elm_spec_pattern(&b->s, pattern, &program, b->err)
                  : elm_spec_literal(&b->s, pattern, &program, b->err));
    return split_at(b, program, behavior, elm_hf_flag(p, "invert", false));
}

/* The prefix is put in front of the whole text ("first"), of every piece, or never. */
static elm_status scheme_of(elm_hf_builder *b, const elm_json *p, elm_prepend_scheme *out) {
    const elm_json *scheme = elm_json_find(p, "prepend_scheme");
    *out = elm_hf_flag(p, "add_prefix_space", true) ? ELM_PREPEND_ALWAYS : ELM_PREPEND_NEVER;
    if (!scheme || elm_json_is(scheme, "always")) return ELM_OK;
    *out = elm_json_is(scheme, "first") ? ELM_PREPEND_FIRST : ELM_PREPEND_NEVER;
    bool known = elm_json_is(scheme, "first") || elm_json_is(scheme, "never");
    return known ? ELM_OK : elm_hf_refuse(b, "the prepend_scheme of", p);
}

static elm_status metaspace_step(elm_hf_builder *b, const elm_json *p) {
    elm_span mark = elm_hf_text(elm_json_find(p, "replacement"));
    elm_prepend_scheme scheme;
    uint32_t program;
    ELM_TRY(scheme_of(b, p, &scheme));
    if (mark.size == 0) return elm_hf_refuse(b, "the replacement of", p);
    ELM_TRY(text_step(b, (elm_disk_step){.kind = ELM_STEP_METASPACE, .a = (uint32_t)scheme}, mark,
                      elm_span_str("")));
    if (!elm_hf_flag(p, "split", true)) return ELM_OK;
    ELM_TRY(elm_spec_literal(&b->s, mark, &program, b->err));
    return split_at(b, program, ELM_SPLIT_MERGED_NEXT, false);
}

static elm_status byte_level_step(elm_hf_builder *b, const elm_json *p) {
    uint32_t program;
    b->byte_level = true;
    if (elm_hf_flag(p, "add_prefix_space", true))
        ELM_TRY(step(b, (elm_disk_step){.kind = ELM_STEP_PREFIX_SPACE}));
    if (!elm_hf_flag(p, "use_regex", true)) return ELM_OK;
    ELM_TRY(elm_spec_pattern(&b->s, elm_span_str(elm_pattern_gpt2), &program, b->err));
    return split_at(b, program, ELM_SPLIT_ISOLATED, false);
}

/* Sets that are those of Rust's char methods, or of the crates that Hugging Face uses. */
static elm_status set_step(elm_hf_builder *b, const elm_json *p, bool *done) {
    const elm_json *type = type_of(p);
    bool digits = elm_json_is(type, "Digits"), punctuation = elm_json_is(type, "Punctuation");
    elm_split_behavior behavior = ELM_SPLIT_REMOVED;
    *done = digits || punctuation || elm_json_is(type, "WhitespaceSplit");
    if (!*done) return ELM_OK;
    elm_charset *set = elm_arena_alloc(&b->s.arena, sizeof *set, 8);
    if (!set) return elm_fail_oom(b->err, sizeof *set, "a pre-tokenizer");
    if (digits) { /* the last two ranges are those of Unicode 17 */
        behavior =
            elm_hf_flag(p, "individual_digits", false) ? ELM_SPLIT_ISOLATED : ELM_SPLIT_CONTIGUOUS;
        elm_charset_add_categories(set, 1u << ELM_CAT_ND | 1u << ELM_CAT_NL | 1u << ELM_CAT_NO);
        elm_charset_add(set, 0x11de0, 0x11de9);
        elm_charset_add(set, 0x16ff4, 0x16ff6);
    } else if (punctuation) {
        if (elm_json_find(p, "behavior"))
            ELM_TRY(behavior_of(b, p, &behavior));
        else
            behavior = ELM_SPLIT_ISOLATED;
        for (uint32_t i = 0; i + 1 < elm_unicode_n_punctuation; i += 2) {
            elm_charset_add(set, elm_unicode_punctuation[i], elm_unicode_punctuation[i + 1] - 1);
        }
    } else {
        elm_charset_add_spaces(set);
    }
    uint32_t program;
    ELM_TRY(elm_spec_set(&b->s, set, 1, 1, &program, b->err));
    return split_at(b, program, behavior, false);
}

/* \w+|[^\w\s]+ and what lies between is dropped: runs of word characters, runs of the rest but
 * white space. */
static elm_status whitespace_step(elm_hf_builder *b) {
    elm_charset *set = elm_arena_array(&b->s.arena, 2, sizeof *set);
    uint32_t program;
    if (!set) return elm_fail_oom(b->err, 2 * sizeof *set, "a pre-tokenizer");
    elm_charset_add_spaces(&set[0]);
    ELM_TRY(elm_spec_set(&b->s, &set[0], 1, 1, &program, b->err));
    ELM_TRY(split_at(b, program, ELM_SPLIT_REMOVED, false));
    for (uint32_t c = 0; c < ELM_UNICODE_END; c++) {
        if (elm_unicode_is_word(c)) elm_charset_add(&set[1], c, c);
    }
    ELM_TRY(elm_spec_set(&b->s, &set[1], 1, 1, &program, b->err));
    return split_at(b, program, ELM_SPLIT_CONTIGUOUS, false);
}

static elm_status pre_tokenizer(elm_hf_builder *b, const elm_json *p) {
    const elm_json *type = type_of(p);
    bool done;
    /* Behind ByteLevel a text is spelled in stand-ins of its bytes. */
    if (b->byte_level) return elm_hf_refuse(b, "behind ByteLevel, pre-tokenizer", p);
    if (elm_json_is(type, "ByteLevel")) return byte_level_step(b, p);
    if (elm_json_is(type, "Split")) return split_step(b, p);
    if (elm_json_is(type, "Metaspace")) return metaspace_step(b, p);
    if (elm_json_is(type, "Whitespace")) return whitespace_step(b);
    ELM_TRY(set_step(b, p, &done));
    return done ? ELM_OK : elm_hf_refuse(b, "pre-tokenizer", p);
}

elm_status elm_hf_pre_tokenizer(elm_hf_builder *b, const elm_json *p) {
    return elm_hf_each(b, p, "pretokenizers", pre_tokenizer);
}

/* ---- decoder ---- */

static bool is_one_point(elm_span text) {
    uint32_t c;
    return text.size > 0 && elm_utf8_decode(text, &c) == (int)text.size;
}

static elm_status decoder_replace(elm_hf_builder *b, const elm_json *d) {
    elm_span from;
    bool regex;
    ELM_TRY(pattern_of(b, d, &from, &regex));
    if (regex) return elm_hf_refuse(b, "a regular expression in decoder", d);
    /* On a text that comes in parts, only what never lies across two of them. */
    if (b->fused && !is_one_point(from))
        return elm_hf_refuse(b, "more than one character behind Fuse in decoder", d);
    if (b->stripped) return elm_hf_refuse(b, "behind Strip, decoder", d);
    return text_step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_REPLACE}, from,
                     elm_hf_text(elm_json_find(d, "content")));
}

static elm_status decoder_strip(elm_hf_builder *b, const elm_json *d) {
    int64_t left = 0, right = 0;
    elm_span what = elm_hf_text(elm_json_find(d, "content"));
    ELM_TRY(elm_json_int(d, "start", 0, INT32_MAX, ELM_HF_FILE, &left, b->err));
    ELM_TRY(elm_json_int(d, "stop", 0, INT32_MAX, ELM_HF_FILE, &right, b->err));
    bool long_one = left > ELM_MAX_DECODE_STRIP || right > ELM_MAX_DECODE_STRIP;
    if (!is_one_point(what) || b->stripped || long_one)
        return elm_hf_refuse(b, "this use of decoder", d);
    b->stripped = b->fused;
    elm_disk_step s = {.kind = ELM_STEP_DECODE_STRIP, .a = (uint32_t)left, .b = (uint32_t)right};
    return text_step(b, s, what, elm_span_str(""));
}

static elm_status decoder_metaspace(elm_hf_builder *b, const elm_json *d) {
    elm_prepend_scheme scheme;
    elm_span mark = elm_hf_text(elm_json_find(d, "replacement"));
    ELM_TRY(scheme_of(b, d, &scheme));
    if (mark.size == 0 || b->fused) return elm_hf_refuse(b, "this use of decoder", d);
    elm_disk_step s = {.kind = ELM_STEP_DECODE_METASPACE, .a = scheme != ELM_PREPEND_NEVER};
    return text_step(b, s, mark, elm_span_str(""));
}

/* Steps before ByteFallback see <0x0A> as text; here they do not, so they must not change it. */
static elm_status decoder_bytes(elm_hf_builder *b, const elm_json *d) {
    if (b->fused || b->byte_tokens) return elm_hf_refuse(b, "this place of decoder", d);
    for (uint32_t i = 0; i < b->s.n_steps; i++) {
        const elm_disk_step *s = &b->s.steps[i];
        const uint8_t *text = b->s.texts.data + s->text;
        bool changes = s->kind >= ELM_FIRST_DECODER;
        for (uint32_t k = 0; k < s->text_bytes && changes; k++)
            changes = strchr("<0x123456789abcdefABCDEF>", text[k]) != NULL;
        if (changes) return elm_hf_refuse(b, "behind this step, decoder", d);
    }
    b->byte_tokens = true;
    return step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_BYTES});
}

static elm_status decoder(elm_hf_builder *b, const elm_json *d) {
    const elm_json *type = type_of(d);
    if (elm_json_is(type, "Replace")) return decoder_replace(b, d);
    if (elm_json_is(type, "Strip")) return decoder_strip(b, d);
    if (elm_json_is(type, "Metaspace")) return decoder_metaspace(b, d);
    if (elm_json_is(type, "ByteFallback")) return decoder_bytes(b, d);
    if (elm_json_is(type, "Fuse")) {
        if (b->fused) return ELM_OK;
        b->fused = true;
        return step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_FUSE});
    }
    if (elm_json_is(type, "ByteLevel")) {
        bool first = b->s.n_steps == 0 || b->s.steps[b->s.n_steps - 1].kind < ELM_FIRST_DECODER;
        if (!first) return elm_hf_refuse(b, "behind another one, decoder", d);
        b->fused = b->decodes_bytes = true;
        return step(b, (elm_disk_step){.kind = ELM_STEP_DECODE_BYTE_LEVEL});
    }
    return elm_hf_refuse(b, "decoder", d);
}

elm_status elm_hf_decoder(elm_hf_builder *b, const elm_json *d) {
    ELM_TRY(elm_hf_each(b, d, "decoders", decoder));
    if (b->decodes_bytes != b->byte_level) {
        return elm_fail(b->err, ELM_UNSUPPORTED,
                        ELM_HF_FILE ": a ByteLevel %s without a ByteLevel %s is not supported",
                        b->byte_level ? "pre-tokenizer" : "decoder",
                        b->byte_level ? "decoder" : "pre-tokenizer");
    }
    if (d && d->type != ELM_JSON_NULL) return ELM_OK;
    return step(
        b, (elm_disk_step){.kind = ELM_STEP_DECODE_JOIN}); /* without a decoder tokens are words */
}
