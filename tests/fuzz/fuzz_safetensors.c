/* fuzz_safetensors.c - a hostile .safetensors file, or an index and a shard.
 *
 *   u8 mode   0: the rest is the file   1: the rest is a header, 256 bytes of data follow
 *             2: an index up to a zero byte, then the header of a.safetensors, with data behind it
 */
#include "source_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DATA_BYTES = 256 };

static void put_header(const char *path, const uint8_t *header, size_t n) {
    elm_buf file;
    elm_buf_init(&file, elm_allocator_default(), 1 << 24);
    elm_buf_u64(&file, n);
    if (n > 0) elm_buf_append(&file, header, n);
    for (int i = 0; i < DATA_BYTES; i++) elm_buf_u8(&file, (uint8_t)i);
    fault_io_put(&fs, path, file.data, file.size);
    elm_buf_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_checkpoint ck;
    elm_error err = {0};
    if (size == 0) return 0;
    int mode = *data++ % 3;
    size--;
    fuzz_begin();
    if (mode == 0) {
        fault_io_put(&fs, "m/model.safetensors", data, size);
    } else if (mode == 1) {
        put_header("m/model.safetensors", data, size);
    } else {
        const uint8_t *zero = memchr(data, 0, size);
        size_t n = zero ? (size_t)(zero - data) : size;
        fault_io_put(&fs, "m/model.safetensors.index.json", data, n);
        put_header("m/a.safetensors", zero ? zero + 1 : data, zero ? size - n - 1 : 0);
    }
    elm_status status = elm_checkpoint_open_folder(&fs.platform, SOURCE_FOLDER, &ck, &err);
    fuzz_check(status, &err);
    if (status == ELM_OK) fuzz_read_all(&ck);
    elm_checkpoint_close(&ck);
    fuzz_end();
    return 0;
}
