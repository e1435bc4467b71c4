/* fuzz_product.c - a hostile PRODUCT, SIGNATURE or DROPPED section behind good checksums.
 *
 *   u8 kind   0 product, 1 signature, 2 dropped     the rest is the section */
#include "elm/product.h"
#include "elm/writer.h"
#include "fault_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH "m.elm"

static elm_status write_file(const elm_platform *p, elm_section_type type, elm_span section) {
    elm_writer *w = NULL;
    ELM_TRY(elm_writer_open(p, PATH, 0, &w, NULL));
    elm_status status =
        elm_writer_begin(w, type, 4096, type == ELM_SECTION_PRODUCT ? "cpu:a" : NULL, NULL);
    if (status == ELM_OK) status = elm_writer_write(w, section.data, section.size, NULL);
    if (status == ELM_OK) status = elm_writer_end(w, NULL);
    if (status == ELM_OK) return elm_writer_finish(w, NULL, NULL);
    elm_writer_abort(w);
    return status;
}

static bool refuse(void *context, const elm_signature *signature,
                   const uint8_t message[ELM_SIGNED_MESSAGE_BYTES]) {
    (void)context, (void)signature, (void)message;
    return false;
}

static elm_status use(elm_container *c, elm_error *err) {
    const elm_section *s = &c->sections[0];
    const elm_trust nobody = {.check = refuse}, all = {.everything = true};
    uint8_t root[32];
    elm_product product;
    elm_signature signature;
    ELM_TRY(elm_root_of_model(c, root, err));
    if (s->type == ELM_SECTION_SIGNATURE) ELM_TRY(elm_signature_read(c, s, &signature, err));
    if (s->type != ELM_SECTION_PRODUCT) return ELM_OK;
    ELM_TRY(elm_product_read(c, s, &c->arena, &product, err));
    if (elm_product_judge(c, &product, &nobody, NULL) == ELM_OK) abort(); /* nobody trusts it */
    return elm_product_judge(c, &product, &all, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const elm_section_type types[] = {ELM_SECTION_PRODUCT, ELM_SECTION_SIGNATURE,
                                             ELM_SECTION_DROPPED};
    fault_io fs;
    elm_container c;
    elm_error err = {0};
    if (size == 0) return 0;
    fault_io_init(&fs);
    if (write_file(&fs.platform, types[data[0] % 3], elm_span_of(data + 1, size - 1)) != ELM_OK)
        abort();
    if (elm_container_open(&fs.platform, PATH, &c, NULL) != ELM_OK) abort();
    if (use(&c, &err) != ELM_OK && err.message[0] == 0) abort();
    elm_container_close(&c);
    fault_io_free(&fs);
    return 0;
}
