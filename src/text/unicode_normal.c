/* unicode_normal.c - normalisation forms C, D, KC and KD (Unicode Standard Annex 15) of one
 * stretch; text.
 *
 * A stretch is decomposed, its marks are sorted by combining class, and for C and KC it is composed
 * again. A hostile text may be one stretch of a million marks: sorting is by counting there,
 * composing is one pass. */
#include "text/unicode.h"

#include "base/utf8.h"

enum { SORT_INSERTION = 32, N_CLASSES = 256 };

static uint32_t class_of(uint32_t p) {
    return p >> 24;
}
static uint32_t point_of(uint32_t p) {
    return p & 0xffffff;
}

static void sort_short(uint32_t *p, size_t n) {
    for (size_t i = 1; i < n; i++) {
        uint32_t x = p[i];
        size_t k = i;
        for (; k > 0 && class_of(p[k - 1]) > class_of(x); k--) p[k] = p[k - 1];
        p[k] = x;
    }
}

static void sort_long(uint32_t *p, size_t n, elm_buf *scratch) {
    size_t first[N_CLASSES + 1] = {0};
    elm_buf_clear(scratch);
    elm_buf_append(scratch, p, n * sizeof *p);
    if (scratch->status != ELM_OK) return;
    const uint32_t *from = (const uint32_t *)(const void *)scratch->data;
    for (size_t i = 0; i < n; i++) first[class_of(from[i]) + 1]++;
    for (size_t c = 1; c <= N_CLASSES; c++) first[c] += first[c - 1];
    for (size_t i = 0; i < n; i++) p[first[class_of(from[i])]++] = from[i];
}

/* Stable, by class, each run of marks between starters on its own. */
static void sort_marks(uint32_t *p, size_t n, elm_buf *scratch) {
    for (size_t begin = 0, end; begin < n; begin = end + 1) {
        for (end = begin; end < n && class_of(p[end]) != 0;) end++;
        if (end - begin <= SORT_INSERTION)
            sort_short(p + begin, end - begin);
        else
            sort_long(p + begin, end - begin, scratch);
    }
}

/* Composes in place; returns how many are left. */
static size_t compose(uint32_t *p, size_t n) {
    size_t kept = 0, starter = 0;
    bool has_starter = false;
    for (size_t i = 0; i < n; i++) {
        uint32_t class = class_of(p[i]);
        /* Blocked when something that was kept behind the starter has the same class or a higher
         * one. */
        bool adjacent = has_starter && kept == starter + 1;
        bool blocked = !adjacent && (!has_starter || class_of(p[kept - 1]) >= class);
        uint32_t composed = blocked ? 0 : elm_unicode_compose(point_of(p[starter]), point_of(p[i]));
        if (composed) {
            p[starter] = composed; /* a starter: class 0 */
            continue;
        }
        if (class == 0) {
            starter = kept;
            has_starter = true;
        }
        p[kept++] = p[i];
    }
    return kept;
}

static void decompose(elm_span text, bool compatible, elm_buf *list) {
    for (size_t at = 0; at < text.size;) {
        uint32_t c, parts[ELM_UNICODE_MAX_DECOMPOSED];
        int n = elm_utf8_decode(elm_span_of(text.data + at, text.size - at), &c);
        if (n <= 0) return;
        at += (size_t)n;
        uint32_t n_parts = elm_unicode_decompose(c, compatible, parts);
        for (uint32_t i = 0; i < n_parts; i++) parts[i] |= elm_unicode_class(parts[i]) << 24;
        elm_buf_append(list, parts, n_parts * sizeof parts[0]);
    }
}

void elm_unicode_normalize(elm_unicode_work *work, elm_span stretch, elm_form form, elm_buf *out) {
    elm_buf *list = &work->points;
    elm_buf_clear(list);
    decompose(stretch, form == ELM_FORM_NFKC || form == ELM_FORM_NFKD, list);
    if (list->status == ELM_OK && list->size > 0) {
        uint32_t *p = (uint32_t *)(void *)list->data;
        size_t n = list->size / sizeof *p;
        sort_marks(p, n, &work->scratch);
        if (form == ELM_FORM_NFC || form == ELM_FORM_NFKC) n = compose(p, n);
        for (size_t i = 0; i < n; i++) {
            uint8_t bytes[4];
            elm_buf_append(out, bytes, (size_t)elm_utf8_encode(point_of(p[i]), bytes));
        }
    }
    if (list->status != ELM_OK) out->status = list->status;
    if (work->scratch.status != ELM_OK) out->status = work->scratch.status;
}
