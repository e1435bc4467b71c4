/* source.h - a whole source model, Hugging Face folder or GGUF, seen in one way: config, tensors,
 * tokenizer, template, generation settings; parse.
 *
 * A GGUF's metadata is turned into the config.json that Hugging Face would have, and its tensors
 * take Hugging Face's names, so that nothing behind this file asks where a model came from. */
#ifndef ELM_PARSE_SOURCE_H
#define ELM_PARSE_SOURCE_H

#include "base/json.h"
#include "parse/checkpoint.h"
#include "parse/gguf.h"
#include "parse/tokenizer_build.h"
#include "text/tokenizer.h"

enum { ELM_MAX_EOS = 32, ELM_MAX_SUPPRESS = 256 };

/* What generation_config.json says; NAN and -1 where it says nothing. */
typedef struct elm_source_sampling {
    double temperature, top_p, min_p, repetition_penalty, presence_penalty;
    int64_t top_k;
    bool greedy; /* do_sample is false */
} elm_source_sampling;

typedef struct elm_source {
    const elm_platform *platform;
    elm_arena arena;
    elm_checkpoint checkpoint; /* of a folder */
    elm_gguf gguf;             /* of a GGUF */
    bool is_gguf;

    const elm_json *root;     /* all of config.json */
    const elm_json *config;   /* the text model's object in it, or root */
    const char *where;        /* "config.json" or the GGUF's path */
    const char *name;         /* may be empty */
    uint32_t n_other_tensors; /* of vision and audio towers beside the text model: left out */
    const float *rope_factors;
    uint32_t n_rope_factors;

    const elm_json *tokenizer_json; /* NULL for a GGUF */
    elm_gguf_vocab vocab;           /* of a GGUF */
    const char *chat_template;      /* NULL: none */
    const elm_json *special_tokens; /* {"bos_token": "<s>", ...} or NULL */
    int32_t bos_id;                 /* ELM_NO_TOKEN: not said */
    int64_t eos_ids[ELM_MAX_EOS];
    uint32_t n_eos;
    int64_t suppress_ids[ELM_MAX_SUPPRESS];
    uint32_t n_suppress;
    elm_source_sampling sampling;
} elm_source;

/* Opens a folder or a .gguf file. Missing optional files are fine; unreadable or malformed ones are
 * errors that name them. Close in any case. with_weights = false reads only what a tokenizer needs:
 * of a GGUF no architecture and no tensors, which vocabulary files do not have. */
elm_status elm_source_open(const elm_platform *platform, const char *path, bool with_weights,
                           elm_source *out, elm_error *err) ELM_MUST_CHECK;
void elm_source_close(elm_source *s);

/* The tensors, wherever they lie. */
const elm_checkpoint *elm_source_checkpoint(const elm_source *s);

/* The TOKENIZER blob of this source. */
elm_status elm_source_tokenizer(const elm_source *s, elm_buf *blob, elm_error *err) ELM_MUST_CHECK;

/* Internal to parse/: the two readers. */
elm_status elm_source_read_folder(elm_source *s, const char *folder, bool with_weights,
                                  elm_error *err) ELM_MUST_CHECK;
elm_status elm_source_read_gguf(elm_source *s, const char *path, bool with_weights,
                                elm_error *err) ELM_MUST_CHECK;
void elm_source_add_eos(elm_source *s, int64_t id);

#endif
