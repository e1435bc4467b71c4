/* journal.h - PATH.part.journal: which weights PATH.part holds, so that a killed conversion can go
 * on; convert.
 *
 *   0     magic (8), SHA-256 of what is converted and how (32), zeros up to 60, CRC-32C (4)
 *   64    a record of 64 bytes for each weight in order:
 *         u32 number, u32 CRC-32C of its bytes in PATH.part, u64 where they end, i32 scale_exp,
 *         u32 0, f64 sum of squared errors, f64 of squared weights, f64 largest error, zeros up to
 *         60, CRC-32C (4)
 *
 * Nothing here is trusted after a crash: a record counts when its own checksum holds and the bytes
 * in PATH.part have the checksum that it names. So the order in which the disk got the two files
 * does not matter, and neither needs a sync. */
#ifndef ELM_CONVERT_JOURNAL_H
#define ELM_CONVERT_JOURNAL_H

#include "base/platform.h"
#include "quant/quantize.h"

typedef struct elm_journal_record {
    uint32_t crc; /* of PATH.part from the end of the weight before to `end` */
    uint64_t end; /* in PATH.part */
    int32_t scale_exp;
    elm_quant_error error; /* its sums and max_abs */
} elm_journal_record;

typedef struct elm_journal {
    const elm_platform *platform;
    elm_file file;
    elm_arena arena; /* of paths */
    const char *path, *part;
    uint32_t n; /* records in the file */
} elm_journal;

/* Names the journal of `path`. Close in any case. */
elm_status elm_journal_init(elm_journal *j, const elm_platform *platform, const char *path,
                            elm_error *err) ELM_MUST_CHECK;

/* Begins an empty journal for PATH.part, whose lock the caller holds. */
elm_status elm_journal_create(elm_journal *j, const uint8_t identity[32],
                              elm_error *err) ELM_MUST_CHECK;

/* Reads the journal beside PATH.part: *out[n_out], at most `max`, are the weights that PATH.part
 * holds from byte `begin` on, checked against its bytes; further records go behind them. A journal
 * that is missing or damaged gives none and is begun anew. ELM_INVALID_ARGUMENT when it belongs to
 * another source or other options. The records lie in `arena`. */
elm_status elm_journal_resume(elm_journal *j, const uint8_t identity[32], uint64_t begin,
                              uint32_t max, elm_arena *arena, elm_journal_record **out,
                              uint32_t *n_out, elm_error *err) ELM_MUST_CHECK;

elm_status elm_journal_add(elm_journal *j, const elm_journal_record *record,
                           elm_error *err) ELM_MUST_CHECK;

/* The file stays; a zeroed journal is fine. */
void elm_journal_close(elm_journal *j);

#endif
