/* dtype.c - the table of dtype.def; ir. */
#include "ir/dtype.h"

#include <string.h>

static const elm_dtype_info table[] = {
#define X(name, number, text, bits, is_float, has_scales, has_zeros) \
    [number] = {text, bits, is_float, has_scales, has_zeros},
#include "ir/dtype.def"
#undef X
};

const elm_dtype_info *elm_dtype_get(uint32_t dtype) {
    return dtype < sizeof table / sizeof table[0] && table[dtype].text ? &table[dtype] : NULL;
}

bool elm_dtype_parse(const char *text, elm_dtype *out) {
    for (uint32_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].text && strcmp(table[i].text, text) == 0) {
            *out = (elm_dtype)i;
            return true;
        }
    }
    return false;
}
