/* unicode.h - the properties of code points that tokenizers ask for, and NFC; text. */
#ifndef ELM_TEXT_UNICODE_H
#define ELM_TEXT_UNICODE_H

#include "base/buf.h"

/* General categories, in the order of the tables. */
typedef enum elm_category {
    ELM_CAT_LU, ELM_CAT_LL, ELM_CAT_LT, ELM_CAT_LM, ELM_CAT_LO, ELM_CAT_MN, ELM_CAT_MC, ELM_CAT_ME, ELM_CAT_ND,
    ELM_CAT_NL, ELM_CAT_NO, ELM_CAT_PC, ELM_CAT_PD, ELM_CAT_PS, ELM_CAT_PE, ELM_CAT_PI, ELM_CAT_PF, ELM_CAT_PO,
    ELM_CAT_SM, ELM_CAT_SC, ELM_CAT_SK, ELM_CAT_SO, ELM_CAT_ZS, ELM_CAT_ZL, ELM_CAT_ZP, ELM_CAT_CC, ELM_CAT_CF,
    ELM_CAT_CS, ELM_CAT_CO, ELM_CAT_CN, ELM_N_CATEGORIES
} elm_category;

elm_category elm_unicode_category(uint32_t code_point);
bool elm_unicode_is_space(uint32_t code_point); /* White_Space */

/* Appends the canonical composition (NFC) of valid UTF-8. Text that is NFC by a quick look is copied. */
void elm_unicode_nfc(elm_span text, elm_buf *out);

extern const uint32_t elm_unicode_categories[], elm_unicode_n_categories;
extern const uint32_t elm_unicode_classes[], elm_unicode_n_classes;
extern const uint32_t elm_unicode_decompositions[][3], elm_unicode_n_decompositions;
extern const uint32_t elm_unicode_compositions[][3], elm_unicode_n_compositions;

#endif
