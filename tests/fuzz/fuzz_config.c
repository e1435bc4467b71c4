/* fuzz_config.c - the JSON files of a model folder, one behind the other with a zero byte between;
 * an empty part is a file that is missing. Order: as `files`. */
#include "source_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {
    "m/config.json",        "m/generation_config.json", "m/tokenizer_config.json",
    "m/chat_template.json", "m/chat_template.jinja",    "m/tokenizer.json",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_source s;
    elm_error err = {0};
    fuzz_begin();
    source_put_text(&fs, "m/tokenizer.json", "{}");
    for (size_t i = 0; i < sizeof files / sizeof files[0] && size > 0; i++) {
        const uint8_t *zero = memchr(data, 0, size);
        size_t n = zero ? (size_t)(zero - data) : size;
        if (n > 0) fault_io_put(&fs, files[i], data, n);
        data += zero ? n + 1 : n;
        size -= zero ? n + 1 : n;
    }
    elm_status status = elm_source_open(&fs.platform, SOURCE_FOLDER, false, &s, &err);
    fuzz_check(status, &err);
    if (status == ELM_OK) {
        if (s.n_eos > ELM_MAX_EOS || s.n_suppress > ELM_MAX_SUPPRESS) abort();
        for (uint32_t i = 0; i < s.n_eos; i++) {
            if (s.eos_ids[i] < 0) abort();
        }
    }
    elm_source_close(&s);
    fuzz_end();
    return 0;
}
