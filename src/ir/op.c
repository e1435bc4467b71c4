/* op.c - the tables of op.def and attr.def; ir. */
#include "ir/graph.h"

static const elm_op_info ops[] = {
#define A(x) | (1u << ELM_ATTR_##x)
#define X(name, number, text, min_in, max_in, n_out, attrs) \
    [number] = {text, min_in, max_in, n_out, 0u attrs},
#include "ir/op.def"
#undef X
#undef A
};

static const char *const attr_texts[] = {
#define X(name, number, kind, def, text) [number] = #name,
#include "ir/attr.def"
#undef X
};

const elm_op_info *elm_op_get(uint32_t op) {
    return op < sizeof ops / sizeof ops[0] && ops[op].text ? &ops[op] : NULL;
}

const char *elm_attr_text(uint32_t attr) {
    return attr < sizeof attr_texts / sizeof attr_texts[0] ? attr_texts[attr] : NULL;
}

elm_attrs elm_attrs_default(void) {
    elm_attrs attrs = {
#define X(name, number, kind, def, text) .name = def,
#include "ir/attr.def"
#undef X
    };
    return attrs;
}
