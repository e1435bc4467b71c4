/* edge_llm.h - the device API: open a model, hold a conversation, generate text.
 *
 *   elm_model *model;      elm_model_open(&model, "model.elm", NULL, NULL);
 *   elm_session *session;  elm_session_create(model, NULL, &session, NULL);
 *   elm_session_chat(session, "Hello!", on_text, stdout, NULL);
 *
 * Ownership: create/open returns owned objects, free/close takes NULL; everything else is borrowed for as long
 * as its owner lives. Option structs begin with struct_size = sizeof(the struct), which lets them grow; NULL
 * means all defaults, and a zero field means its default. Fallible calls return elm_status and fill the
 * optional elm_error.
 *
 * Threads: a model is immutable after open and may be shared; it owns the thread pool, which runs one step at a
 * time. A session belongs to one thread at a time; only elm_session_cancel may be called from any thread.
 * The library never prints, exits, or reads the environment. Decoding allocates nothing. */
#ifndef EDGE_LLM_H
#define EDGE_LLM_H

#include "edge_llm_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0" */
ELM_API const char *elm_version(void);

/* ---- model -------------------------------------------------------------------------------- */

typedef struct elm_model elm_model;

typedef struct elm_model_options {
    size_t struct_size;
    const elm_allocator *allocator; /* NULL: the C library's */
    uint32_t n_threads;             /* 0: the machine's big cores, at most 8 */
    uint32_t max_batch_tokens;      /* largest prefill chunk; 0: 256, with experts 512 */
    size_t memory_limit_bytes;      /* hard cap on what the model and its sessions allocate (the mapped
                                       file not counted); 0: none. Past it calls fail with
                                       ELM_OUT_OF_MEMORY and leave everything usable */
    const char *backends;           /* comma-separated in order of preference, "cpu" last unless the
                                       list ends in '!'; NULL: the best that is there */
    uint32_t cpu_mask;              /* CPU features to use; 0: all */
    bool skip_checks;               /* do not verify weight checksums at first use */
    size_t prefix_cache_bytes;      /* what sessions may leave for later ones that begin alike, at most
                                       (docs/sessions.md); 0: nothing */
    int32_t utc_offset_s;           /* what a chat template's strftime_now adds to UTC, in seconds: the
                                       library never asks for the time zone; 0: UTC */
} elm_model_options;

/* Maps the file and makes the plan; reads no weight. Milliseconds, whatever the size. */
ELM_API elm_status elm_model_open(elm_model **out, const char *path, const elm_model_options *options,
                                  elm_error *err) ELM_MUST_CHECK;
/* All sessions must be freed before, and those that draft with it. */
ELM_API void elm_model_close(elm_model *model);
/* Drops the prefix cache: memory for others, time for sessions to come. From any thread. */
ELM_API void elm_model_trim(elm_model *model);

typedef struct elm_sampling {
    size_t struct_size;
    float temperature;        /* 0: greedy */
    int32_t top_k;            /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* 1: off; divides positive and multiplies negative logits of seen tokens */
    float presence_penalty;   /* 0: off; subtracted once for a token that was generated */
    float frequency_penalty;  /* 0: off; subtracted for each time it was generated */
    uint64_t seed;
} elm_sampling;

typedef struct elm_model_info {
    const char *architecture; /* "qwen3" */
    const char *name;
    uint32_t vocab_size;      /* rows of the logits */
    uint32_t n_real_tokens;   /* ids from here on are padding and never sampled */
    uint32_t context_length;  /* that the model was made for */
    uint32_t hidden_size, n_layers;
    uint64_t n_parameters;
    uint64_t file_bytes;
    int32_t bos_id;           /* -1: none */
    bool add_bos;             /* the tokenizer puts it before a text */
    bool raw_needs_bos;       /* raw text needs it even though the tokenizer does not add it */
    const int32_t *eos_ids;
    uint32_t n_eos_ids;
    const char *chat_template; /* NULL: none */
    elm_sampling sampling;     /* the model's own recommendation */
    uint32_t n_threads;
    const char *backend;       /* what runs the largest part, "cpu (avx2, fma)" */
} elm_model_info;

/* Fills *out; its pointers live as long as the model. */
ELM_API void elm_model_get_info(const elm_model *model, elm_model_info *out);

typedef enum elm_kv_type { ELM_KV_DEFAULT = 0, ELM_KV_F32, ELM_KV_F16, ELM_KV_I8 } elm_kv_type;

/* ---- text <-> ids -------------------------------------------------------------------------- */

/* Encodes UTF-8. With parse_special, special tokens spelled in the text are read as such: for trusted text
 * only. Writes at most `capacity` ids and always the whole number to *n_ids: call with capacity 0 to ask.
 * ELM_INVALID_ARGUMENT when it did not fit (and capacity > 0); bad UTF-8 is ELM_MALFORMED with its offset. */
ELM_API elm_status elm_tokenize(const elm_model *model, const char *text, size_t text_bytes,
                                bool add_special, bool parse_special, int32_t *ids, size_t capacity,
                                size_t *n_ids, elm_error *err) ELM_MUST_CHECK;

/* Decodes ids into a NUL-terminated string that the caller frees with elm_string_free. */
ELM_API elm_status elm_detokenize(const elm_model *model, const int32_t *ids, size_t n_ids,
                                  bool skip_special, char **out, size_t *out_bytes, elm_error *err)
    ELM_MUST_CHECK;
ELM_API void elm_string_free(const elm_model *model, char *text, size_t text_bytes);

/* Renders the model's chat template. `json` holds the arguments of apply_chat_template: {"messages": [...],
 * "tools": [...], "add_generation_prompt": true, ...}; the model's special tokens are added where absent.
 * The ids keep content apart from template: no text under messages or tools can become a special token.
 * Writes like elm_tokenize. */
ELM_API elm_status elm_chat_tokenize(const elm_model *model, const char *json, size_t json_bytes,
                                     int32_t *ids, size_t capacity, size_t *n_ids, elm_error *err)
    ELM_MUST_CHECK;
/* The same as text; free with elm_string_free. */
ELM_API elm_status elm_chat_render(const elm_model *model, const char *json, size_t json_bytes,
                                   char **out, size_t *out_bytes, elm_error *err) ELM_MUST_CHECK;

/* ---- session ------------------------------------------------------------------------------- */

/* One token timeline with its state. */
typedef struct elm_session elm_session;

/* Where guesses for the next tokens come from. They change the speed and never the text
 * (docs/sessions.md, "Speculative decoding"). */
typedef enum elm_draft_kind {
    ELM_DRAFT_NONE = 0,
    ELM_DRAFT_LOOKUP, /* what followed the same words earlier in the timeline */
    ELM_DRAFT_MODEL,  /* draft_model, which must have the same vocabulary */
    ELM_DRAFT_MTP,    /* the file's own draft head; ELM_UNSUPPORTED when it has none */
} elm_draft_kind;

#define ELM_NO_SNAPSHOTS UINT32_MAX

typedef struct elm_session_options {
    size_t struct_size;
    uint32_t n_context;     /* positions; 0: the smaller of the model's context and 4096 */
    elm_kv_type kv;         /* default: f16, f32 for f32 files */
    elm_sampling sampling;  /* used when sampling.struct_size is set; else the model's own */
    const char *system;     /* system turn of elm_session_chat; NULL: none; must live as long */
    uint32_t n_snapshots;   /* rewind points of models with recurrent state or sliding windows; 0: 4;
                               ELM_NO_SNAPSHOTS: none, a rewind runs the kept tokens again */
    elm_draft_kind draft;
    elm_model *draft_model; /* borrowed; for ELM_DRAFT_MODEL */
    uint32_t n_draft;       /* tokens guessed at once, at most 7; 0: a good number for the kind, and
                               none while guessing takes longer than it saves */
} elm_session_options;

/* Bytes that a session with these options takes, all of it, before anything is allocated. */
typedef struct elm_memory_estimate {
    uint64_t kv_bytes;       /* KV caches and recurrent states */
    uint64_t snapshot_bytes; /* rewind points */
    uint64_t draft_bytes;    /* the draft model's session, or the draft head's workspaces */
    uint64_t scratch_bytes;  /* activations, workspaces, logits, the timeline */
    uint64_t total_bytes;
} elm_memory_estimate;

ELM_API elm_status elm_model_estimate_memory(const elm_model *model,
                                             const elm_session_options *options,
                                             elm_memory_estimate *out,
                                             elm_error *err) ELM_MUST_CHECK;

ELM_API elm_status elm_session_create(elm_model *model, const elm_session_options *options,
                                      elm_session **out, elm_error *err) ELM_MUST_CHECK;
ELM_API void elm_session_free(elm_session *session);
/* Gives the rewind points back, for good: later rewinds may take longer. The text stays the same. */
ELM_API void elm_session_trim(elm_session *session);

ELM_API uint32_t elm_session_length(const elm_session *session);  /* tokens in the timeline */
ELM_API uint32_t elm_session_context(const elm_session *session); /* positions it has room for */
ELM_API const int32_t *elm_session_tokens(const elm_session *session);

/* Runs `n` more tokens. Afterwards elm_session_logits are those of the last one. ELM_CONTEXT_FULL (nothing
 * done) when they do not fit, ELM_INVALID_ARGUMENT for an id outside the vocabulary, ELM_CANCELLED. */
ELM_API elm_status elm_session_append(elm_session *session, const int32_t *ids, size_t n,
                                      elm_error *err) ELM_MUST_CHECK;

/* Makes the timeline equal to `ids`: keeps the common prefix, rewinds, appends the rest. *n_reused (may be
 * NULL) is what was kept. */
ELM_API elm_status elm_session_sync(elm_session *session, const int32_t *ids, size_t n,
                                    size_t *n_reused, elm_error *err) ELM_MUST_CHECK;

/* Cuts the timeline to its first `n` tokens. Works at any length; a recurrent state, or a sliding window past
 * its slack, goes on from the nearest rewind point, and the tokens behind that run again with the next call.
 * The logits may be gone until then. */
ELM_API elm_status elm_session_rewind(elm_session *session, size_t n, elm_error *err) ELM_MUST_CHECK;

/* Writes the whole session, its conversation included, to `path` (docs/sessions.md): to PATH.part first, renamed
 * when it is whole. */
ELM_API elm_status elm_session_save(elm_session *session, const char *path,
                                    elm_error *err) ELM_MUST_CHECK;
/* Makes a session of a saved one, which goes on as that one would have, bit for bit. Options as for create;
 * context, KV type and sampling are the saved ones where they are left out. ELM_INVALID_ARGUMENT when another
 * model made the file or another KV type is asked for, ELM_CONTEXT_FULL when its tokens do not fit,
 * ELM_MALFORMED for a damaged file. Files are checked, never trusted. */
ELM_API elm_status elm_session_load(elm_model *model, const char *path,
                                    const elm_session_options *options, elm_session **out,
                                    elm_error *err) ELM_MUST_CHECK;

/* Stops the call that runs, or the next one, at the next step. From any thread. */
ELM_API void elm_session_cancel(elm_session *session);

/* [vocab_size] of the last token; NULL before the first, and where a token waits to be run. Valid until the
 * next call. */
ELM_API const float *elm_session_logits(const elm_session *session);

/* Runs `n` tokens and writes the logits of every one: out[n][vocab_size]. For evaluation. `chunk` tokens a step;
 * 0: the model's batch. */
ELM_API elm_status elm_session_append_logits(elm_session *session, const int32_t *ids, size_t n,
                                             size_t chunk, float *out, elm_error *err) ELM_MUST_CHECK;

/* ---- generation ---------------------------------------------------------------------------- */

/* Called with whole code points (never empty, not NUL-terminated). Return false to stop. */
typedef bool (*elm_text_fn)(void *context, const char *text, size_t text_bytes);
/* Called with every sampled token, the end token included. Return false to stop. */
typedef bool (*elm_token_fn)(void *context, int32_t id);

typedef enum elm_stop_reason {
    ELM_STOP_NONE = 0,
    ELM_STOP_EOS,       /* an end token */
    ELM_STOP_STRING,    /* one of stop_strings; it is not part of the text */
    ELM_STOP_LENGTH,    /* max_tokens */
    ELM_STOP_CONTEXT,   /* the context is full */
    ELM_STOP_CALLBACK,  /* on_text or on_token returned false */
    ELM_STOP_CANCELLED,
} elm_stop_reason;

typedef struct elm_generate_options {
    size_t struct_size;
    uint32_t max_tokens;             /* 0: as many as the context holds */
    const char *const *stop_strings; /* [n_stop_strings] */
    uint32_t n_stop_strings;
    bool ignore_eos;
    bool show_special;               /* special tokens appear in the text; those that mark thoughts and
                                        tool calls always do (elm_answer_*) */
    elm_text_fn on_text;
    elm_token_fn on_token;
    void *context;
} elm_generate_options;

typedef struct elm_generate_result {
    elm_stop_reason reason;
    uint32_t n_tokens; /* sampled, an end token not counted */
} elm_generate_result;

/* Samples from the timeline's end until something stops it. The timeline must not be empty. Every sampled
 * token but the last one, and the last unless it ended the text, is in the timeline afterwards. */
ELM_API elm_status elm_session_generate(elm_session *session, const elm_generate_options *options,
                                        elm_generate_result *out, elm_error *err) ELM_MUST_CHECK;

ELM_API elm_status elm_session_set_sampling(elm_session *session, const elm_sampling *sampling,
                                            elm_error *err) ELM_MUST_CHECK;

/* Adds a user turn to the conversation that the session remembers, answers it, and remembers the answer. */
ELM_API elm_status elm_session_chat(elm_session *session, const char *user_text, elm_text_fn on_text,
                                    void *context, elm_error *err) ELM_MUST_CHECK;
/* Forgets the conversation (the timeline is cut at the next turn). */
ELM_API void elm_session_chat_reset(elm_session *session);
/* The conversation so far: JSON objects {"role", "content"}, separated by commas, as they stand in "messages".
 * It is saved with the session. Borrowed until the next call; not NUL-terminated. */
ELM_API const char *elm_session_conversation(const elm_session *session, size_t *n_bytes);
/* Replaces it. ELM_MALFORMED when it is no such list. */
ELM_API elm_status elm_session_set_conversation(elm_session *session, const char *turns, size_t n_bytes,
                                                elm_error *err) ELM_MUST_CHECK;

/* ---- reading an answer --------------------------------------------------------------------- */

/* Takes an answer apart as it streams: thoughts, text, tool calls in the form that the model's template has. */
typedef struct elm_answer elm_answer;

typedef enum elm_answer_part {
    ELM_ANSWER_CONTENT,   /* a piece of the text */
    ELM_ANSWER_REASONING, /* a piece of the thoughts */
    ELM_ANSWER_CALL,      /* one whole tool call: {"name": ..., "arguments": {...}} */
    ELM_ANSWER_CALL_BEGUN, /* the name of a call whose arguments are still being written, to show; CALL follows, or
                             CONTENT when it turns out to be no call. Told for the first of several calls that
                             stand in one block, and not in every format: act on CALL only. */
} elm_answer_part;

/* `text` is borrowed for the call, never empty, not NUL-terminated. */
typedef void (*elm_answer_fn)(void *context, elm_answer_part part, const char *text, size_t text_bytes);

/* `chat_json`: what elm_chat_tokenize took. It says whether the template has opened the thoughts already, and
 * which parameters of the tools are strings. on_part may be NULL. */
ELM_API elm_status elm_answer_create(const elm_model *model, const char *chat_json, size_t chat_bytes,
                                     elm_answer_fn on_part, void *context, elm_answer **out,
                                     elm_error *err) ELM_MUST_CHECK;
/* Text as on_text gets it. */
ELM_API void elm_answer_add(elm_answer *answer, const char *text, size_t text_bytes);
/* Ends the answer and gives it as a message: {"role": "assistant", "content": ..., "reasoning_content": ...,
 * "tool_calls": [...]}, which the template renders back. Free the message with elm_string_free. */
ELM_API elm_status elm_answer_message(elm_answer *answer, char **json, size_t *json_bytes,
                                      elm_error *err) ELM_MUST_CHECK;
ELM_API void elm_answer_free(elm_answer *answer);

typedef struct elm_stats {
    uint64_t load_us;            /* elm_model_open */
    uint64_t prefill_tokens, prefill_us;
    uint64_t decode_tokens, decode_us; /* tokens run by elm_session_generate */
    uint64_t first_token_us;     /* of the last generate: from the first append before it to its first token */
    uint64_t reused_tokens;      /* that sync or the prefix cache saved from being run */
    uint64_t drafted_tokens, accepted_tokens; /* guesses, and those that were right */
    uint64_t model_allocated_bytes, session_allocated_bytes;
    uint64_t draft_bytes;        /* of the session's: for guesses, a draft model's session among it */
} elm_stats;

ELM_API void elm_session_get_stats(const elm_session *session, elm_stats *out);

#ifdef __cplusplus
}
#endif
#endif
