/* fuzz_convert.c - the converter end to end on a hostile GGUF; what it writes must verify and open.
 */
#include "convert/conversion.h"
#include "elm/container.h"
#include "runtime/model.h"
#include "source_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_open(void) {
    elm_container c;
    elm_verify_result v;
    elm_model *m = NULL;
    elm_error err = {0};
    const elm_model_hooks hooks = {.platform = &fs.platform};
    const elm_model_options o = {.struct_size = sizeof o, .n_threads = 1, .backends = "cpu"};
    if (elm_container_open(&fs.platform, "m.elm", &c, &err) != ELM_OK) abort();
    if (elm_container_verify(&c, NULL, NULL, NULL, &v, &err) != ELM_OK) abort();
    elm_container_close(&c);
    /* It may be too large for the cap, but it is no malformed file. */
    elm_status status = elm_model_open_with(&m, "m.elm", &o, &hooks, &err);
    if (status == ELM_MALFORMED) abort();
    elm_model_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const elm_quant quants[] = {ELM_QUANT_KEEP, ELM_QUANT_INT4, ELM_QUANT_INT8, ELM_QUANT_F32};
    elm_error err = {0};
    if (size == 0) return 0;
    const elm_convert_options o = {
        .struct_size = sizeof o, .n_threads = 1, .quant = quants[data[0] % 4]};
    fuzz_begin();
    fault_io_put(&fs, "m.gguf", data + 1, size - 1);
    elm_status status = elm_convert_on(&fs.platform, "m.gguf", "m.elm", &o, NULL, &err);
    fuzz_check(status, &err);
    if (status == ELM_OK) must_open();
    if (fault_find(&fs, "m.elm.part") || fault_find(&fs, "m.elm.part.journal")) abort();
    fuzz_end();
    return 0;
}
