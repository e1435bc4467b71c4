/* journal.c - see journal.h; convert. */
#include "convert/journal.h"

#include "base/buf.h"
#include "base/checked.h"
#include "base/hash.h"

#include <string.h>

enum { RECORD_BYTES = 64, CRC_AT = 60, READ_BYTES = 1 << 20 };

static const char magic[8] = "ELMJRNL1";

static void seal(elm_buf *record) {
    while (record->status == ELM_OK && record->size < CRC_AT) elm_buf_u8(record, 0);
    elm_buf_u32(record, elm_crc32c(0, record->data, record->status == ELM_OK ? CRC_AT : 0));
}

static bool sealed(const uint8_t record[RECORD_BYTES]) {
    elm_reader r = elm_reader_of(elm_span_of(record + CRC_AT, 4));
    return elm_read_u32(&r) == elm_crc32c(0, record, CRC_AT);
}

elm_status elm_journal_init(elm_journal *j, const elm_platform *platform, const char *path,
                            elm_error *err) {
    memset(j, 0, sizeof *j);
    j->platform = platform;
    elm_arena_init(&j->arena, platform->alloc, 0);
    j->path = elm_arena_printf(&j->arena, "%s.part.journal", path);
    j->part = elm_arena_printf(&j->arena, "%s.part", path);
    return j->path && j->part ? ELM_OK : elm_fail_oom(err, strlen(path), "a path");
}

static elm_status put(elm_journal *j, uint64_t at, elm_buf *record, elm_error *err) {
    seal(record);
    elm_status status = elm_buf_check(record, "the journal", err);
    if (status == ELM_OK) status = elm_file_write_at(&j->file, at, record->data, record->size, err);
    elm_buf_free(record);
    return status;
}

elm_status elm_journal_create(elm_journal *j, const uint8_t identity[32], elm_error *err) {
    elm_buf head;
    ELM_TRY(elm_file_open(j->platform, j->path, ELM_OPEN_CREATE, &j->file, err));
    elm_buf_init(&head, j->platform->alloc, RECORD_BYTES);
    elm_buf_append(&head, magic, sizeof magic);
    elm_buf_append(&head, identity, 32);
    return put(j, 0, &head, err);
}

elm_status elm_journal_add(elm_journal *j, const elm_journal_record *r, elm_error *err) {
    elm_buf record;
    elm_buf_init(&record, j->platform->alloc, RECORD_BYTES);
    elm_buf_u32(&record, j->n);
    elm_buf_u32(&record, r->crc);
    elm_buf_u64(&record, r->end);
    elm_buf_u32(&record, (uint32_t)r->scale_exp);
    elm_buf_u32(&record, 0);
    elm_buf_f64(&record, r->error.sum_error2);
    elm_buf_f64(&record, r->error.sum_weight2);
    elm_buf_f64(&record, r->error.max_abs);
    ELM_TRY(put(j, (uint64_t)(j->n + 1) * RECORD_BYTES, &record, err));
    j->n++;
    return ELM_OK;
}

static bool read_record(const uint8_t raw[RECORD_BYTES], uint32_t number, elm_journal_record *out) {
    elm_reader r = elm_reader_of(elm_span_of(raw, RECORD_BYTES));
    memset(out, 0, sizeof *out);
    if (!sealed(raw) || elm_read_u32(&r) != number) return false;
    out->crc = elm_read_u32(&r);
    out->end = elm_read_u64(&r);
    out->scale_exp = elm_read_i32(&r);
    (void)elm_read_u32(&r);
    out->error.sum_error2 = elm_read_f64(&r);
    out->error.sum_weight2 = elm_read_f64(&r);
    out->error.max_abs = elm_read_f64(&r);
    return true;
}

/* How many of the n records PATH.part bears out, from the first on. */
static elm_status check_part(const elm_journal *j, uint64_t begin,
                             const elm_journal_record *records, uint32_t *n, elm_error *err) {
    elm_file part;
    uint64_t size = 0;
    uint8_t *buffer = NULL;
    uint32_t good = 0;
    ELM_TRY(elm_file_open(j->platform, j->part, ELM_OPEN_READ, &part, err));
    elm_status status = elm_alloc(j->platform->alloc, READ_BYTES, "a read buffer", &buffer, err);
    if (status == ELM_OK) status = elm_file_size(&part, &size, err);
    for (uint64_t at = begin; status == ELM_OK && good < *n; good++) {
        const elm_journal_record *r = &records[good];
        uint32_t crc = 0;
        if (r->end < at || r->end > size) break;
        for (size_t take; status == ELM_OK && at < r->end; at += take) {
            take = r->end - at < READ_BYTES ? (size_t)(r->end - at) : READ_BYTES;
            status = elm_file_read_at(&part, at, buffer, take, err);
            if (status == ELM_OK) crc = elm_crc32c(crc, buffer, take);
        }
        if (status == ELM_OK && crc != r->crc) break;
    }
    elm_free(j->platform->alloc, buffer, READ_BYTES);
    elm_file_close(&part);
    *n = status == ELM_OK ? good : 0;
    return status;
}

static elm_status read_records(const elm_journal *j, const uint8_t identity[32], uint32_t max,
                               elm_journal_record *out, uint32_t *n, bool *usable, elm_error *err) {
    uint8_t raw[RECORD_BYTES];
    uint64_t size;
    *usable = false;
    ELM_TRY(elm_file_size(&j->file, &size, err));
    if (size < RECORD_BYTES) return ELM_OK;
    ELM_TRY(elm_file_read_at(&j->file, 0, raw, sizeof raw, err));
    if (!sealed(raw) || memcmp(raw, magic, sizeof magic) != 0) return ELM_OK;
    if (memcmp(raw + sizeof magic, identity, 32) != 0) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "'%s' was begun from another source, with other options or by another "
                        "version; give the same again, or convert without --resume to begin anew",
                        j->path);
    }
    *usable = true;
    for (uint64_t at = RECORD_BYTES; *n < max && size - at >= RECORD_BYTES; at += RECORD_BYTES) {
        ELM_TRY(elm_file_read_at(&j->file, at, raw, sizeof raw, err));
        if (!read_record(raw, *n, &out[*n])) break;
        ++*n;
    }
    return ELM_OK;
}

elm_status elm_journal_resume(elm_journal *j, const uint8_t identity[32], uint64_t begin,
                              uint32_t max, elm_arena *arena, elm_journal_record **out,
                              uint32_t *n_out, elm_error *err) {
    bool usable = false;
    elm_path_kind kind;
    *out = NULL;
    *n_out = 0;
    elm_journal_record *records = elm_arena_array(arena, max, sizeof *records);
    if (!records && max > 0) return elm_fail_oom(err, max * sizeof *records, "the journal");
    ELM_TRY(elm_path_kind_of(j->platform, j->path, &kind, err));
    if (kind == ELM_PATH_FILE) {
        ELM_TRY(elm_file_open(j->platform, j->path, ELM_OPEN_OURS, &j->file, err));
        ELM_TRY(read_records(j, identity, max, records, n_out, &usable, err));
        if (usable) ELM_TRY(check_part(j, begin, records, n_out, err));
    }
    if (!usable) {
        elm_file_close(&j->file);
        return elm_journal_create(j, identity, err);
    }
    *out = records;
    j->n = *n_out;
    return ELM_OK;
}

void elm_journal_close(elm_journal *j) {
    if (!j->platform) return;
    elm_file_close(&j->file);
    elm_arena_free(&j->arena);
    memset(j, 0, sizeof *j);
}
