/* unicode.c - look-ups in the range tables; text. */
#include "text/unicode.h"

enum {
    INDEXED_BLOCKS = 0x300, /* blocks of 256 code points that have an entry in the index */
    HANGUL_S = 0xac00, HANGUL_L = 0x1100, HANGUL_V = 0x1161, HANGUL_T = 0x11a7,
    HANGUL_N_L = 19, HANGUL_N_V = 21, HANGUL_N_T = 28, HANGUL_N_S = HANGUL_N_L * HANGUL_N_V * HANGUL_N_T,
    FIRST_MARK = 0x300,         /* below it no code point combines with one before it */
    FIRST_DECOMPOSED = 0xa0,
};

/* The value of the range that holds a code point; the index narrows the search. */
static uint32_t in_ranges(const uint32_t *ranges, const uint16_t *index, uint32_t c) {
    uint32_t block = c >> 8;
    uint32_t low = index[block < INDEXED_BLOCKS ? block : INDEXED_BLOCKS - 1];
    uint32_t high = (uint32_t)index[block < INDEXED_BLOCKS ? block + 1 : INDEXED_BLOCKS] + 1u;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (ranges[middle] >> 8 <= c) low = middle;
        else high = middle;
    }
    return ranges[low] & 255;
}

/* Whether a list of range ends has an odd number of ends at or below the code point. */
static bool in_set(const uint32_t *ends, uint32_t n, uint32_t c) {
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ends[middle] <= c) low = middle + 1;
        else high = middle;
    }
    return low % 2 != 0;
}

elm_category elm_unicode_category(uint32_t c) {
    if (c >= ELM_UNICODE_END) return ELM_CAT_CN;
    return (elm_category)in_ranges(elm_unicode_categories, elm_unicode_categories_index, c);
}

bool elm_unicode_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    if (c == 0x85 || c == 0xa0) return true;
    if (c < 0x1680) return false;
    return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

bool elm_unicode_is_word(uint32_t c) {
    elm_category k = elm_unicode_category(c);
    if (k <= ELM_CAT_NL || k == ELM_CAT_PC) return true;
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

bool elm_unicode_is_mark(uint32_t c) {
    return c >= FIRST_MARK && in_set(elm_unicode_marks, elm_unicode_n_marks, c);
}

uint32_t elm_unicode_lower(uint32_t c, uint32_t out[ELM_UNICODE_MAX_LOWER]) {
    out[0] = c;
    if (c < 0x80) {
        if (c >= 'A' && c <= 'Z') out[0] = c + 32;
        return 1;
    }
    if (c == 0x130) { /* the only one that becomes two: i and a dot above */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    uint32_t low = 0, high = elm_unicode_n_lower;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const int32_t *r = elm_unicode_lower_rows[middle];
        if ((uint32_t)r[0] > c) {
            high = middle;
        } else if ((uint32_t)r[1] < c) {
            low = middle + 1;
        } else {
            if ((c - (uint32_t)r[0]) % (uint32_t)r[2] == 0) out[0] = (uint32_t)((int32_t)c + r[3]);
            break;
        }
    }
    return 1;
}

bool elm_unicode_is_unstable(uint32_t c, elm_form form) {
    if (c < FIRST_DECOMPOSED || c >= ELM_UNICODE_END) return false;
    return in_ranges(elm_unicode_unstable, elm_unicode_unstable_index, c) >> form & 1;
}

uint32_t elm_unicode_class(uint32_t c) {
    if (c < FIRST_MARK || c >= ELM_UNICODE_END) return 0;
    return in_ranges(elm_unicode_classes, elm_unicode_classes_index, c);
}

static const uint32_t *find_entry(const uint32_t (*rows)[2], uint32_t n, uint32_t c) {
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (rows[middle][0] == c) return rows[middle];
        if (rows[middle][0] < c) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

uint32_t elm_unicode_decompose(uint32_t c, bool compatible, uint32_t out[ELM_UNICODE_MAX_DECOMPOSED]) {
    uint32_t s = c - HANGUL_S;
    if (c >= HANGUL_S && s < HANGUL_N_S) {
        out[0] = HANGUL_L + s / (HANGUL_N_V * HANGUL_N_T);
        out[1] = HANGUL_V + s % (HANGUL_N_V * HANGUL_N_T) / HANGUL_N_T;
        out[2] = HANGUL_T + s % HANGUL_N_T;
        return s % HANGUL_N_T ? 3 : 2;
    }
    const uint32_t *row = NULL;
    if (c >= FIRST_DECOMPOSED && compatible) row = find_entry(elm_unicode_compatible, elm_unicode_n_compatible, c);
    if (c >= FIRST_DECOMPOSED && !row) row = find_entry(elm_unicode_canonical, elm_unicode_n_canonical, c);
    if (!row) {
        out[0] = c;
        return 1;
    }
    memcpy(out, elm_unicode_points + (row[1] >> 8), (row[1] & 255) * sizeof *out);
    return row[1] & 255;
}

uint32_t elm_unicode_compose(uint32_t a, uint32_t b) {
    if (a - HANGUL_L < HANGUL_N_L && b - HANGUL_V < HANGUL_N_V) {
        return HANGUL_S + ((a - HANGUL_L) * HANGUL_N_V + (b - HANGUL_V)) * HANGUL_N_T;
    }
    if (a - HANGUL_S < HANGUL_N_S && (a - HANGUL_S) % HANGUL_N_T == 0 && b - HANGUL_T - 1 < HANGUL_N_T - 1) {
        return a + (b - HANGUL_T);
    }
    uint32_t low = 0, high = elm_unicode_n_compositions;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const uint32_t *r = elm_unicode_compositions[middle];
        if (r[0] == a && r[1] == b) return r[2];
        if (r[0] < a || (r[0] == a && r[1] < b)) low = middle + 1;
        else high = middle;
    }
    return 0;
}
