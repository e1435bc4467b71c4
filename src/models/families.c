/* families.c - the list of model families. A new family is one file and one line here. */
#include "models/family.h"

#define FAMILIES                                         \
    X(gemma2)  /* Gemma 1 and 2 */                       \
    X(gemma3)  /* Gemma 3 text */                        \
    X(gemma4)  /* Gemma 4 text */                        \
    X(granite) /* Granite 3 and 4, dense */              \
    X(llama)   /* Llama, SmolLM2, Mistral, Qwen2 */      \
    X(phi3)    /* Phi-3, Phi-4 */                        \
    X(smollm3) /* SmolLM3 */                             \
    X(qwen3)   /* Qwen3, dense and mixture of experts */ \
    X(qwen3_5) /* Qwen3.5 text, dense and mixture of experts, MTP */

#define X(name) extern const elm_family elm_family_##name;
FAMILIES
#undef X

const elm_family *const elm_families[] = {
#define X(name) &elm_family_##name,
    FAMILIES
#undef X
        NULL,
};

const elm_family *elm_family_find(elm_span model_type) {
    for (size_t f = 0; elm_families[f]; f++) {
        for (const char *const *type = elm_families[f]->model_types; *type; type++) {
            if (elm_span_equal(model_type, elm_span_str(*type))) return elm_families[f];
        }
    }
    return NULL;
}
