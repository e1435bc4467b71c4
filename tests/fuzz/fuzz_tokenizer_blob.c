/* fuzz_tokenizer_blob.c - a hostile TOKENIZER section, mapped as it is: opened, then used.
 *
 *   u16 n   n bytes of text   the rest is the blob */
#include <stdlib.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = 64 << 20 };

static void use(const elm_allocator *alloc, const elm_tokenizer *t, elm_span text) {
    elm_tokenizer_info info;
    elm_buf ids;
    elm_error err = {0};
    elm_tokenizer_get_info(t, &info);
    for (uint32_t id = 0; id < info.n_ids && id < 4096; id++) {
        elm_span spelling = elm_tokenizer_spelling(t, (int32_t)id);
        if (spelling.size > 0 && spelling.data[spelling.size - 1] == 0xff) (void)id;
        (void)elm_tokenizer_is_special(t, (int32_t)id);
    }
    elm_buf_init(&ids, alloc, MEMORY);
    elm_status status = elm_tokenizer_encode_text(t, text, ELM_PART_TEMPLATE, true, &ids, &err);
    if (status != ELM_OK && err.message[0] == 0) abort();
    elm_buf_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_reader r = elm_reader_of(elm_span_of(data, size));
    if (size < 2) return 0;
    size_t n = elm_read_u16(&r) % 512;
    if (n > elm_reader_left(&r)) n = elm_reader_left(&r);
    const uint8_t *text = elm_read_bytes(&r, n);
    size_t n_blob = elm_reader_left(&r);
    /* The blob lies aligned, as in the mapping. */
    uint8_t *blob = aligned_alloc(64, (n_blob + 63) / 64 * 64 + 64);
    elm_tokenizer *t = NULL;
    elm_error err = {0};
    if (!blob) abort();
    if (n_blob > 0) memcpy(blob, elm_read_bytes(&r, n_blob), n_blob);
    elm_capped_allocator cap;
    elm_capped_allocator_init(&cap, elm_allocator_default(), MEMORY);
    elm_status status = elm_tokenizer_open(&cap.interface, elm_span_of(blob, n_blob), &t, &err);
    if (status != ELM_OK && err.message[0] == 0) abort();
    if (status == ELM_OK && n > 0) use(&cap.interface, t, elm_span_of(text, n));
    elm_tokenizer_close(t);
    if (cap.live_bytes != 0) abort();
    free(blob);
    return 0;
}
