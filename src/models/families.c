/* families.c - the list of model families. A new family is one file and one line here. */
#include "models/family.h"

extern const elm_family elm_family_gemma3, elm_family_gemma4, elm_family_llama, elm_family_qwen3,
    elm_family_qwen3_5;

const elm_family *const elm_families[] = {
    &elm_family_gemma3, &elm_family_gemma4,  &elm_family_llama,
    &elm_family_qwen3,  &elm_family_qwen3_5, NULL,
};

const elm_family *elm_family_find(elm_span model_type) {
    for (size_t f = 0; elm_families[f]; f++) {
        for (const char *const *type = elm_families[f]->model_types; *type; type++) {
            if (elm_span_equal(model_type, elm_span_str(*type))) return elm_families[f];
        }
    }
    return NULL;
}
