/* unicode.h - the properties of code points that tokenizers ask for, and the four normalisation
 * forms; text.
 *
 * The tables have, property by property, the version of Unicode that Hugging Face tokenizers has
 * (scripts/gen_unicode_tables.py says which). Every function takes any uint32_t. */
#ifndef ELM_TEXT_UNICODE_H
#define ELM_TEXT_UNICODE_H

#include "base/buf.h"

/* General categories, in the order of the tables. */
typedef enum elm_category {
    ELM_CAT_LU,
    ELM_CAT_LL,
    ELM_CAT_LT,
    ELM_CAT_LM,
    ELM_CAT_LO,
    ELM_CAT_MN,
    ELM_CAT_MC,
    ELM_CAT_ME,
    ELM_CAT_ND,
    ELM_CAT_NL,
    ELM_CAT_NO,
    ELM_CAT_PC,
    ELM_CAT_PD,
    ELM_CAT_PS,
    ELM_CAT_PE,
    ELM_CAT_PI,
    ELM_CAT_PF,
    ELM_CAT_PO,
    ELM_CAT_SM,
    ELM_CAT_SC,
    ELM_CAT_SK,
    ELM_CAT_SO,
    ELM_CAT_ZS,
    ELM_CAT_ZL,
    ELM_CAT_ZP,
    ELM_CAT_CC,
    ELM_CAT_CF,
    ELM_CAT_CS,
    ELM_CAT_CO,
    ELM_CAT_CN,
    ELM_N_CATEGORIES
} elm_category;

typedef enum elm_form {
    ELM_FORM_NFC,
    ELM_FORM_NFD,
    ELM_FORM_NFKC,
    ELM_FORM_NFKD,
    ELM_N_FORMS
} elm_form;

enum {
    ELM_UNICODE_END = 0x110000,
    ELM_UNICODE_MAX_LOWER = 2,       /* code points that one becomes in lower case */
    ELM_UNICODE_MAX_DECOMPOSED = 32, /* and decomposed */
};

elm_category elm_unicode_category(uint32_t c);
bool elm_unicode_is_space(uint32_t c); /* White_Space */
bool elm_unicode_is_word(
    uint32_t c); /* \w of Rust: alphabetic, mark, decimal digit, connector, joiner */
bool elm_unicode_is_mark(uint32_t c); /* what StripAccents removes */

/* Lower case as Rust's char::to_lowercase; returns how many code points. */
uint32_t elm_unicode_lower(uint32_t c, uint32_t out[ELM_UNICODE_MAX_LOWER]);

/* False when the code point begins a new stretch for the form: it never changes, nor combines with
 * one before. */
bool elm_unicode_is_unstable(uint32_t c, elm_form form);
uint32_t elm_unicode_class(uint32_t c); /* canonical combining class */
/* Full decomposition, marks not yet sorted; returns how many. */
uint32_t elm_unicode_decompose(uint32_t c, bool compatible,
                               uint32_t out[ELM_UNICODE_MAX_DECOMPOSED]);
/* The primary composite of a pair, or 0. */
uint32_t elm_unicode_compose(uint32_t a, uint32_t b);

/* Memory that the stretches of a text share. */
typedef struct elm_unicode_work {
    elm_buf points;  /* uint32_t[]: class << 24 | code point */
    elm_buf scratch; /* the same, while sorting */
} elm_unicode_work;

/* Normalises one stretch of valid UTF-8 that begins at a code point which is not unstable, or at
 * the text's beginning, and ends before the next such; appends to `out`. Failures are latched in
 * `out`. Time is linear. */
void elm_unicode_normalize(elm_unicode_work *work, elm_span stretch, elm_form form, elm_buf *out);

/* The tables (unicode_tables.c). */
extern const uint32_t elm_unicode_categories[], elm_unicode_classes[], elm_unicode_unstable[];
extern const uint16_t elm_unicode_categories_index[], elm_unicode_classes_index[],
    elm_unicode_unstable_index[];
extern const uint32_t elm_unicode_canonical[][2], elm_unicode_n_canonical;
extern const uint32_t elm_unicode_compatible[][2], elm_unicode_n_compatible;
extern const uint32_t elm_unicode_points[];
extern const uint32_t elm_unicode_compositions[][3], elm_unicode_n_compositions;
extern const int32_t elm_unicode_lower_rows[][4];
extern const uint32_t elm_unicode_n_lower;
extern const uint32_t elm_unicode_marks[], elm_unicode_n_marks;
extern const uint32_t elm_unicode_punctuation[], elm_unicode_n_punctuation;

#endif
