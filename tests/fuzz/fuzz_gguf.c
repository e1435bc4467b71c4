/* fuzz_gguf.c - a hostile GGUF, as tensors and as a whole model with config and vocabulary. */
#include "source_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(const elm_gguf *g) {
    elm_arena arena;
    elm_arena_init(&arena, g->checkpoint.platform->alloc, 0);
    for (uint32_t i = 0; i < g->n_values; i++) {
        char *key = elm_arena_string(&arena, g->values[i].key);
        elm_span text, *texts;
        void *words;
        uint32_t n;
        int64_t integer;
        double number;
        bool boolean;
        if (!key) abort();
        (void)elm_gguf_int(g, key, &integer);
        (void)elm_gguf_float(g, key, &number);
        (void)elm_gguf_bool(g, key, &boolean);
        (void)elm_gguf_string(g, key, &text);
        (void)!elm_gguf_words(g, key, ELM_GGUF_F32, &arena, &words, &n, NULL);
        if (elm_gguf_strings(g, key, &arena, &texts, &n, NULL) != ELM_OK || n == 0) continue;
        /* Touch the last byte of the last one. */
        if (texts[n - 1].size > 0 && texts[n - 1].data[texts[n - 1].size - 1] == 1) (void)key;
    }
    elm_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_gguf g;
    elm_source s;
    elm_error err = {0};
    fuzz_begin();
    fault_io_put(&fs, "m.gguf", data, size);
    elm_status status = elm_gguf_open(&fs.platform, "m.gguf", &g, &err);
    fuzz_check(status, &err);
    if (status == ELM_OK) {
        read_values(&g);
        fuzz_read_all(&g.checkpoint);
    }
    elm_gguf_close(&g);
    status = elm_source_open(&fs.platform, "m.gguf", true, &s, &err);
    fuzz_check(status, &err);
    if (status == ELM_OK) {
        fuzz_read_all(elm_source_checkpoint(&s));
        if (!s.config || !s.vocab.tokens || !s.special_tokens) abort();
    }
    elm_source_close(&s);
    fuzz_end();
    return 0;
}
