/* fuzz_session.c - loading a hostile session file.
 *
 * The input is a list of changes to a small valid file, whose checksums are repaired over them so
 * that the checks behind are reached:
 *
 *   u8 mode   bit 0: repair the header's checksum   bit 1: repair the chunks'
 *             bit 7: the rest is a file as it is
 *   change    u16 offset   u8 n   n bytes
 *
 * What loads must be able to go on. Without repairs every change must be found. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/hash.h"
#include "runtime/session_file.h"
#include "session_model.h"

#define SESSION "s.bin"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static open_model o;
static uint8_t *intact, *changed;
static size_t n_intact;

static void make_intact(void) {
    int32_t ids[80];
    elm_session *s = NULL;
    elm_session_options so = {.struct_size = sizeof so, .n_context = 128};
    session_model_open(&o, "GW");
    tm_prompt(ids, 80, 1);
    if (elm_session_create(o.model, &so, &s, NULL) != ELM_OK ||
        elm_session_append(s, ids, 80, NULL) != ELM_OK ||
        elm_session_set_conversation(s, "{\"role\": \"user\"}", 16, NULL) != ELM_OK ||
        elm_session_save(s, SESSION, NULL) != ELM_OK)
        abort();
    elm_session_free(s);
    const uint8_t *file = fault_io_get(&o.fs, SESSION, &n_intact);
    intact = malloc(n_intact);
    changed = malloc(n_intact);
    if (!intact || !changed) abort();
    memcpy(intact, file, n_intact);
    o.model->capped.limit_bytes = 64 << 20; /* a bomb is out of memory, not out of this machine */
}

static void repair(uint8_t *file, size_t n, int mode) {
    uint32_t crc;
    for (uint32_t i = 0; (mode & 2) != 0; i++) {
        size_t at = ELM_SESSION_HEADER_BYTES + (size_t)i * (ELM_SESSION_CHUNK_BYTES + 4);
        if (at + 4 >= n) break;
        size_t bytes = n - at - 4 < ELM_SESSION_CHUNK_BYTES ? n - at - 4 : ELM_SESSION_CHUNK_BYTES;
        crc = elm_chunk_crc(i, file + at, bytes);
        memcpy(file + at + bytes, &crc, 4);
    }
    if ((mode & 1) == 0 || n < ELM_SESSION_HEADER_BYTES) return;
    crc = elm_crc32c(0, file, ELM_SESSION_HEADER_BYTES - 4);
    memcpy(file + ELM_SESSION_HEADER_BYTES - 4, &crc, 4);
}

static bool load(const uint8_t *file, size_t n) {
    elm_session *s = NULL;
    elm_error err;
    elm_generate_options g = {.struct_size = sizeof g, .max_tokens = 3};
    fault_io_put(&o.fs, SESSION, file, n);
    size_t before = atomic_load(&o.model->capped.live_bytes);
    elm_status status = elm_session_load(o.model, SESSION, NULL, &s, &err);
    if ((status == ELM_OK) != (s != NULL)) abort();
    if (s && elm_session_length(s) > 0 && elm_session_generate(s, &g, NULL, &err) != ELM_OK)
        abort();
    elm_session_free(s);
    if (atomic_load(&o.model->capped.live_bytes) != before) abort();
    return status == ELM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!intact) make_intact();
    if (size < 1) return 0;
    int mode = data[0];
    data++, size--;
    if (mode & 128) {
        load(data, size);
        return 0;
    }
    memcpy(changed, intact, n_intact);
    while (size >= 3) {
        size_t at = (size_t)(data[0] | data[1] << 8) % n_intact, n = data[2];
        data += 3, size -= 3;
        if (n > size) n = size;
        if (n > n_intact - at) n = n_intact - at;
        memcpy(changed + at, data, n);
        data += n, size -= n;
    }
    bool differs = memcmp(changed, intact, n_intact) != 0;
    repair(changed, n_intact, mode);
    bool loaded = load(changed, n_intact);
    if ((mode & 3) == 0 && loaded == differs) abort();
    return 0;
}
