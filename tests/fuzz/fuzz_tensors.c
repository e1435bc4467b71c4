/* fuzz_tensors.c - a hostile TENSORS section behind good checksums: the input is the section. What is
 * accepted must be readable to its last byte. */
#include "fault_io.h"
#include "tiny_elm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH "m.elm"

static elm_status write_file(const elm_platform *p, elm_span section) {
    static uint8_t weights[1 << 14];
    elm_writer *w = NULL;
    ELM_TRY(elm_writer_open(p, PATH, 0, &w, NULL));
    elm_status status = elm_writer_begin(w, ELM_SECTION_WEIGHTS, 4096, NULL, NULL);
    if (status == ELM_OK) status = elm_writer_write(w, weights, sizeof weights, NULL);
    if (status == ELM_OK) status = elm_writer_end(w, NULL);
    if (status == ELM_OK) status = elm_writer_section(w, ELM_SECTION_TENSORS, section, NULL);
    if (status == ELM_OK) return elm_writer_finish(w, NULL, NULL);
    elm_writer_abort(w);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static volatile uint8_t sink;
    fault_io fs;
    elm_container c;
    elm_tensor *tensors;
    uint32_t n;
    elm_error err = {0};
    fault_io_init(&fs);
    if (write_file(&fs.platform, elm_span_of(data, size)) != ELM_OK) abort();
    if (elm_container_open(&fs.platform, PATH, &c, NULL) != ELM_OK) abort();
    elm_status status = elm_container_tensors(&c, &tensors, &n, &err);
    if (status != ELM_OK && err.message[0] == 0) abort();
    for (uint32_t i = 0; status == ELM_OK && i < n; i++) {
        const elm_tensor *t = &tensors[i];
        sink = ((const uint8_t *)t->codes)[t->codes_bytes - 1];
        if (t->scales) sink = ((const uint8_t *)t->scales)[t->scales_bytes - 1];
        if (t->zeros) sink = t->zeros[t->zeros_bytes - 1];
        if (t->layout == ELM_LAYOUT_P16) (void)elm_tensor_at(t, t->dims[0] - 1, t->dims[1] - 1);
    }
    (void)sink;
    elm_container_close(&c);
    fault_io_free(&fs);
    return 0;
}
