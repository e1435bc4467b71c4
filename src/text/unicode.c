/* unicode.c - look-ups in the range tables, and normalisation form C (Unicode Standard Annex 15); text. */
#include "text/unicode.h"

#include "base/utf8.h"

enum {
    HANGUL_S = 0xac00, HANGUL_L = 0x1100, HANGUL_V = 0x1161, HANGUL_T = 0x11a7,
    HANGUL_N_L = 19, HANGUL_N_V = 21, HANGUL_N_T = 28, HANGUL_N_S = HANGUL_N_L * HANGUL_N_V * HANGUL_N_T,
    FIRST_NOT_NFC_QUICK = 0x300, /* below it no code point combines or decomposes under NFC */
    MAX_DECOMPOSED = 8,
    SORT_INSERTION = 64,
    LONG_RUN = 4096,
};

/* The value of the range that holds a code point. */
static uint32_t in_ranges(const uint32_t *ranges, uint32_t n, uint32_t c) {
    uint32_t low = 0, high = n;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (ranges[middle] >> 8 <= c) low = middle;
        else high = middle;
    }
    return ranges[low] & 255;
}

elm_category elm_unicode_category(uint32_t c) {
    return (elm_category)in_ranges(elm_unicode_categories, elm_unicode_n_categories, c);
}

bool elm_unicode_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    if (c == 0x85 || c == 0xa0) return true;
    if (c < 0x1680) return false;
    elm_category category = elm_unicode_category(c);
    return category == ELM_CAT_ZS || category == ELM_CAT_ZL || category == ELM_CAT_ZP;
}

static uint32_t class_of(uint32_t c) {
    return c < FIRST_NOT_NFC_QUICK ? 0 : in_ranges(elm_unicode_classes, elm_unicode_n_classes, c);
}

/* ---- NFC ---- */

static const uint32_t *find_row(const uint32_t (*rows)[3], uint32_t n, uint32_t a, uint32_t b, bool two) {
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const uint32_t *r = rows[middle];
        if (r[0] == a && (!two || r[1] == b)) return r;
        if (r[0] < a || (r[0] == a && r[1] < b)) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

/* Full canonical decomposition of one code point; returns how many. */
static uint32_t decompose(uint32_t c, uint32_t out[MAX_DECOMPOSED]) {
    uint32_t n = 0, s = c - HANGUL_S;
    if (c >= HANGUL_S && s < HANGUL_N_S) {
        out[n++] = HANGUL_L + s / (HANGUL_N_V * HANGUL_N_T);
        out[n++] = HANGUL_V + s % (HANGUL_N_V * HANGUL_N_T) / HANGUL_N_T;
        if (s % HANGUL_N_T) out[n++] = HANGUL_T + s % HANGUL_N_T;
        return n;
    }
    uint32_t tail[MAX_DECOMPOSED], n_tail = 0;
    for (const uint32_t *r; n_tail < MAX_DECOMPOSED - 1; c = r[1]) {
        r = c < 0xc0 ? NULL : find_row(elm_unicode_decompositions, elm_unicode_n_decompositions, c, 0, false);
        if (!r) break;
        if (r[2]) tail[n_tail++] = r[2];
    }
    out[n++] = c;
    while (n_tail > 0) out[n++] = tail[--n_tail];
    return n;
}

static uint32_t compose(uint32_t a, uint32_t b) {
    if (a - HANGUL_L < HANGUL_N_L && b - HANGUL_V < HANGUL_N_V) {
        return HANGUL_S + ((a - HANGUL_L) * HANGUL_N_V + (b - HANGUL_V)) * HANGUL_N_T;
    }
    if (a - HANGUL_S < HANGUL_N_S && (a - HANGUL_S) % HANGUL_N_T == 0 && b - HANGUL_T - 1 < HANGUL_N_T - 1) {
        return a + (b - HANGUL_T);
    }
    const uint32_t *r = find_row(elm_unicode_compositions, elm_unicode_n_compositions, a, b, true);
    return r ? r[2] : 0;
}

/* Code points that may still combine with each other. */
typedef struct run {
    elm_buf points, scratch; /* uint32_t[] */
    elm_buf *out;
} run;

/* Stable, by class, each stretch of marks between starters on its own: by insertion where it is short, by counting
 * where a hostile text makes it long. */
static void sort_marks(uint32_t *p, size_t n, elm_buf *scratch) {
    for (size_t begin = 0, end; begin < n; begin = end + 1) {
        for (end = begin; end < n && class_of(p[end]) != 0;) end++;
        if (end - begin <= SORT_INSERTION) {
            for (size_t i = begin + 1; i < end; i++) {
                uint32_t x = p[i], class = class_of(x);
                size_t k = i;
                for (; k > begin && class_of(p[k - 1]) > class; k--) p[k] = p[k - 1];
                p[k] = x;
            }
            continue;
        }
        size_t first[257] = {0};
        scratch->size = 0;
        elm_buf_append(scratch, p + begin, (end - begin) * sizeof *p);
        if (scratch->status != ELM_OK) return;
        const uint32_t *from = (const uint32_t *)(const void *)scratch->data;
        for (size_t i = 0; i < end - begin; i++) first[class_of(from[i]) + 1]++;
        for (size_t c = 1; c < 257; c++) first[c] += first[c - 1];
        for (size_t i = 0; i < end - begin; i++) p[begin + first[class_of(from[i])]++] = from[i];
    }
}

static void emit(elm_buf *out, uint32_t c) {
    uint8_t bytes[4];
    elm_buf_append(out, bytes, (size_t)elm_utf8_encode(c, bytes));
}

/* Composes and writes a run, and empties it. */
static void flush_run(run *r) {
    uint32_t *p = (uint32_t *)(void *)r->points.data;
    size_t n = r->points.size / sizeof *p, kept = 0, starter = 0;
    bool has_starter = false;
    uint32_t last_class = 0;
    sort_marks(p, n, &r->scratch);
    for (size_t i = 0; i < n; i++) {
        uint32_t class = class_of(p[i]);
        if (has_starter && (last_class < class || (last_class == 0 && kept == starter + 1))) {
            uint32_t composed = compose(p[starter], p[i]);
            if (composed) {
                p[starter] = composed;
                continue;
            }
        }
        if (class == 0) starter = kept, has_starter = true;
        last_class = class;
        p[kept++] = p[i];
    }
    for (size_t i = 0; i < kept; i++) emit(r->out, p[i]);
    r->points.size = 0;
}

/* A code point that never combines with one before it: no mark, no Hangul vowel or final. */
static bool starts_anew(uint32_t c) {
    elm_category category = elm_unicode_category(c);
    bool mark = category == ELM_CAT_MN || category == ELM_CAT_MC || category == ELM_CAT_ME;
    return !mark && !(c >= 0x1100 && c < 0x1200);
}

static bool quick_nfc(elm_span text) {
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] >= 0xcc) return false; /* the lead byte of U+0300 */
    }
    return true;
}

void elm_unicode_nfc(elm_span text, elm_buf *out) {
    if (quick_nfc(text)) {
        elm_buf_append(out, text.data, text.size);
        return;
    }
    run r = {.out = out};
    elm_buf_init(&r.points, out->alloc, out->max_bytes * 4);
    elm_buf_init(&r.scratch, out->alloc, out->max_bytes * 4);
    for (size_t at = 0; at < text.size && r.points.status == ELM_OK;) {
        uint32_t c, parts[MAX_DECOMPOSED];
        int n = elm_utf8_decode(elm_span_of(text.data + at, text.size - at), &c);
        if (n <= 0) break;
        at += (size_t)n;
        uint32_t n_parts = decompose(c, parts);
        /* A starter that cannot compose with what stands before it ends the run. */
        if (r.points.size > 0 && c < FIRST_NOT_NFC_QUICK) flush_run(&r);
        elm_buf_append(&r.points, parts, n_parts * sizeof parts[0]);
        if (r.points.size > LONG_RUN && n_parts == 1 && starts_anew(c)) {
            r.points.size -= sizeof c; /* stays: a mark that follows may combine with it */
            flush_run(&r);
            elm_buf_append(&r.points, &c, sizeof c);
        }
    }
    if (r.points.size > 0) flush_run(&r);
    if (r.points.status != ELM_OK) out->status = r.points.status;
    if (r.scratch.status != ELM_OK) out->status = r.scratch.status;
    elm_buf_free(&r.points);
    elm_buf_free(&r.scratch);
}
