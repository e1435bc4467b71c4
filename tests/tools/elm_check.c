/* elm_check.c - what the C reader says of .elm files, one line a file, for the test that compares
 * it with tests/elm_reader.py:
 *
 *   elm_check FILE...     OPEN TENSORS VERIFY EXTRAS    each a status, "-" when an earlier one
 * failed
 *
 * EXTRAS: products, signatures and the list of dropped sections. */
#include <stdio.h>

#include "elm/product.h"

static elm_status read_extras(elm_container *c, elm_error *err) {
    uint8_t root[32];
    ELM_TRY(elm_root_of_model(c, root, err));
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_product product;
        elm_signature signature;
        const elm_section *s = &c->sections[i];
        if (s->type == ELM_SECTION_PRODUCT)
            ELM_TRY(elm_product_read(c, s, &c->arena, &product, err));
        if (s->type == ELM_SECTION_SIGNATURE) ELM_TRY(elm_signature_read(c, s, &signature, err));
    }
    return ELM_OK;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        elm_container c;
        elm_tensor *tensors;
        uint32_t n;
        elm_error err;
        elm_verify_result v;
        elm_status open = elm_container_open(elm_platform_default(), argv[i], &c, &err);
        if (open != ELM_OK) {
            printf("%s - - -\n", elm_status_name(open));
        } else {
            elm_status status = elm_container_tensors(&c, &tensors, &n, &err);
            elm_status verified = elm_container_verify(&c, NULL, NULL, NULL, &v, &err);
            elm_status extras = read_extras(&c, &err);
            printf("OK %s %s %s\n", elm_status_name(status), elm_status_name(verified),
                   elm_status_name(extras));
        }
        elm_container_close(&c);
    }
    return 0;
}
