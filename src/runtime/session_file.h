/* session_file.h - a session on disk (docs/sessions.md): the layout that saving and loading share;
 * runtime.
 *
 *   0     header, HEADER_BYTES, its CRC-32C in the last four
 *   256   body in chunks of CHUNK_BYTES, the last one shorter; behind each its CRC-32C, with the
 *         chunk's number in front as in an .elm file
 *
 *   body  tokens i32[n_tokens]; was_generated u8[n_tokens]; conversation; logits f32[vocab] if any;
 *         of every full KV state the rows of n_run positions, in blocks of ROWS_BLOCK; the mark of
 *         n_run; of every snapshot its logits flag u32, position u32, mark, logits f32[vocab]
 *
 * Every size follows from the header and the model, so nothing is believed before it was computed:
 * the file's size says at once whether it fits. All numbers little-endian. */
#ifndef ELM_RUNTIME_SESSION_FILE_H
#define ELM_RUNTIME_SESSION_FILE_H

#include "runtime/session.h"

#define ELM_SESSION_MAGIC "ELMSESS\n" /* 8 bytes */
enum {
    ELM_SESSION_VERSION = 1,
    ELM_SESSION_HEADER_BYTES = 256,
    ELM_SESSION_CHUNK_BYTES = 65536,
    ELM_SESSION_NAME_BYTES = 64,
    ELM_SESSION_ROWS_BLOCK = 16,
    ELM_SESSION_SNAPSHOTS = 2, /* the newest: what the next turn goes back to */
    ELM_MAX_CONVERSATION_BYTES = 16 << 20,
};

/* The header's fields in the order of the file. */
typedef struct elm_session_header {
    uint8_t model[32];                 /* elm_model_identity */
    char name[ELM_SESSION_NAME_BYTES]; /* of that model, for messages; NUL-padded */
    uint32_t kv, n_context, n_tokens, n_run, has_logits, with_draft, n_snapshots;
    uint32_t conversation_bytes;
    uint64_t n_drawn;
    elm_sampling sampling;
} elm_session_header;

/* SHA-256 over the hashes of everything that decides what a model computes. */
void elm_model_identity(const elm_model *m, uint8_t out[32]);

/* The state configuration of the session that was saved. */
elm_state_config elm_session_header_config(const elm_session_header *h, const elm_model *m);
/* Bytes of body and of the whole file. */
uint64_t elm_session_body_bytes(const elm_session_header *h, const elm_model *m);
uint64_t elm_session_file_bytes(uint64_t body_bytes);

/* A body going out or coming in, chunk by chunk. */
typedef struct elm_session_stream {
    elm_file file;
    const elm_allocator *alloc;
    uint8_t *chunk; /* [ELM_SESSION_CHUNK_BYTES + 4] */
    size_t at, size;
    uint32_t index;
    uint64_t left; /* reading: body bytes that no chunk brought yet */
} elm_session_stream;

void elm_session_stream_close(elm_session_stream *s);

#endif
