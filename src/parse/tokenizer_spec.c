/* tokenizer_spec.c - filling a tokenizer spec: steps, classes, spellings; parse. */
#include "base/utf8.h"
#include "parse/tokenizer_blob_write.h"

enum { MAX_TEXTS = 1 << 20 };

elm_status elm_tokenizer_spec_init(elm_tokenizer_spec *s, const elm_allocator *alloc,
                                   uint32_t n_ids, elm_error *err) {
    memset(s, 0, sizeof *s);
    elm_arena_init(&s->arena, alloc, 0);
    elm_buf_init(&s->items, alloc, ELM_MAX_PATTERN_ITEMS * sizeof(elm_disk_item));
    elm_buf_init(&s->classes, alloc, ELM_MAX_PATTERN_CLASSES * sizeof(elm_disk_class));
    elm_buf_init(&s->ranges, alloc, (size_t)ELM_MAX_PATTERN_RANGES * 8);
    elm_buf_init(&s->texts, alloc, MAX_TEXTS);
    if (n_ids == 0 || n_ids > ELM_TOKENIZER_MAX_IDS) {
        return elm_fail(err, ELM_MALFORMED, "a tokenizer of %u ids; expected 1..%d", n_ids,
                        ELM_TOKENIZER_MAX_IDS);
    }
    s->n_ids = n_ids;
    s->unk_id = ELM_NO_TOKEN;
    for (int i = 0; i < 256; i++) s->byte_ids[i] = ELM_NO_TOKEN;
    s->spellings = elm_arena_array(&s->arena, n_ids, sizeof *s->spellings);
    s->normalized = elm_arena_array(&s->arena, n_ids, sizeof *s->normalized);
    s->token_flags = elm_arena_array(&s->arena, n_ids, 1);
    s->in_model = elm_arena_array(&s->arena, n_ids, 1);
    bool ok = s->spellings && s->normalized && s->token_flags && s->in_model;
    return ok ? ELM_OK : elm_fail_oom(err, n_ids * sizeof *s->spellings, "the vocabulary");
}

void elm_tokenizer_spec_free(elm_tokenizer_spec *s) {
    elm_buf_free(&s->items);
    elm_buf_free(&s->classes);
    elm_buf_free(&s->ranges);
    elm_buf_free(&s->texts);
    elm_arena_free(&s->arena);
}

elm_status elm_spec_step(elm_tokenizer_spec *s, elm_disk_step step, elm_span text, elm_span text2,
                         elm_error *err) {
    if (s->n_steps == ELM_MAX_STEPS) {
        return elm_fail(err, ELM_UNSUPPORTED, "a tokenizer of more than %d steps", ELM_MAX_STEPS);
    }
    step.text = (uint32_t)s->texts.size;
    step.text_bytes = (uint32_t)text.size;
    elm_buf_append(&s->texts, text.data, text.size);
    step.text2 = (uint32_t)s->texts.size;
    step.text2_bytes = (uint32_t)text2.size;
    elm_buf_append(&s->texts, text2.data, text2.size);
    s->steps[s->n_steps++] = step;
    return elm_buf_check(&s->texts, "the tokenizer's strings", err);
}

static bool same_class(const elm_tokenizer_spec *s, const elm_disk_class *a,
                       const elm_disk_class *b) {
    const uint8_t *r = s->ranges.data;
    return memcmp(a->ascii, b->ascii, sizeof a->ascii) == 0 && a->n_ranges == b->n_ranges &&
           (a->n_ranges == 0 ||
            memcmp(r + (size_t)a->first_range * 8, r + (size_t)b->first_range * 8,
                   (size_t)a->n_ranges * 8) == 0);
}

elm_status elm_spec_class(elm_tokenizer_spec *s, const elm_charset *set, uint32_t *out,
                          elm_error *err) {
    size_t before = s->ranges.size;
    elm_disk_class c = {.first_range = (uint32_t)(before / 8)};
    for (uint32_t i = 0; i < 128; i++) {
        if (elm_charset_has(set, i)) c.ascii[i >> 5] |= 1u << (i & 31);
    }
    for (uint32_t from = 128, range[2]; elm_charset_range(set, from, &range[0], &range[1]);
         from = range[1] + 1) {
        elm_buf_append(&s->ranges, range, sizeof range);
        c.n_ranges++;
    }
    ELM_TRY(elm_buf_check(&s->ranges, "the tokenizer's patterns", err));
    uint32_t n = (uint32_t)(s->classes.size / sizeof c);
    const elm_disk_class *all = (const elm_disk_class *)(const void *)s->classes.data;
    for (*out = 0; *out < n; ++*out) {
        if (!same_class(s, &all[*out], &c)) continue;
        s->ranges.size = before;
        return ELM_OK;
    }
    elm_buf_append(&s->classes, &c, sizeof c);
    return elm_buf_check(&s->classes, "the tokenizer's patterns", err);
}

/* The code points that stand for bytes: printable Latin-1 as itself, the 68 others from U+0100 on.
 */
static bool is_printable_stand_in(uint32_t c) {
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

bool elm_byte_level_decode(elm_span spelling, uint8_t *out, size_t *n) {
    *n = 0;
    for (size_t at = 0; at < spelling.size;) {
        uint32_t c;
        int k = elm_utf8_decode(elm_span_of(spelling.data + at, spelling.size - at), &c);
        if (k <= 0) return false;
        at += (size_t)k;
        if (c >= 256 && c < 256 + 68) {
            uint32_t other = c - 256, byte = 0;
            for (;; byte++) {
                if (!is_printable_stand_in(byte) && other-- == 0) break;
            }
            c = byte;
        } else if (!is_printable_stand_in(c)) {
            return false;
        }
        out[(*n)++] = (uint8_t)c;
    }
    return true;
}

static int hex_digit(uint8_t c, bool either_case) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return either_case && c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool elm_is_byte_token(elm_span s, bool either_case, uint8_t *byte) {
    if (s.size != 6 || memcmp(s.data, "<0x", 3) != 0 || s.data[5] != '>') return false;
    int high = hex_digit(s.data[3], either_case), low = hex_digit(s.data[4], either_case);
    if (high < 0 || low < 0) return false;
    *byte = (uint8_t)(high << 4 | low);
    return true;
}

/* FNV-1a with the high half folded in: its low bits alone mix short texts badly. */
static uint32_t hash_of(elm_span text) {
    uint64_t h = elm_fnv1a(text.data, text.size);
    return (uint32_t)(h ^ h >> 32);
}

elm_status elm_spelling_index_make(elm_arena *arena, const elm_span *spellings, uint32_t n,
                                   elm_spelling_index *out, elm_error *err) {
    size_t slots = 64;
    while (slots < (size_t)n * 2) slots *= 2;
    out->mask = (uint32_t)slots - 1;
    out->spellings = spellings;
    out->slots = elm_arena_array(arena, slots, sizeof *out->slots);
    if (!out->slots) return elm_fail_oom(err, slots * sizeof *out->slots, "the vocabulary");
    for (uint32_t i = 0; i < n; i++) {
        if (spellings[i].size == 0) continue;
        uint32_t slot = hash_of(spellings[i]) & out->mask;
        while (out->slots[slot] && !elm_span_equal(spellings[out->slots[slot] - 1], spellings[i])) {
            slot = (slot + 1) & out->mask;
        }
        out->slots[slot] = i + 1;
    }
    return ELM_OK;
}

uint32_t elm_spelling_index_find(const elm_spelling_index *x, elm_span spelling) {
    if (spelling.size == 0) return UINT32_MAX;
    for (uint32_t slot = hash_of(spelling) & x->mask; x->slots[slot]; slot = (slot + 1) & x->mask) {
        if (elm_span_equal(x->spellings[x->slots[slot] - 1], spelling)) return x->slots[slot] - 1;
    }
    return UINT32_MAX;
}
