/* gguf_config.h - a GGUF's metadata as the config.json that Hugging Face would have; parse. */
#ifndef ELM_PARSE_GGUF_CONFIG_H
#define ELM_PARSE_GGUF_CONFIG_H

#include "base/json.h"
#include "parse/gguf_names.h"

/* Divisors of RoPE's frequencies, of tensors that the config takes in. */
typedef struct elm_gguf_factors {
    const float *values; /* [n] */
    uint32_t n;          /* 0: no such tensor */
} elm_gguf_factors;

enum { ELM_GGUF_FREQS, ELM_GGUF_SHORT, ELM_GGUF_LONG, ELM_GGUF_N_FACTORS };

/* Builds the config in `arena`. Tensors still have GGUF's names, but rope_freqs.weight,
 * rope_factors_short.weight and rope_factors_long.weight are in `factors` [ELM_GGUF_N_FACTORS]; a
 * config with rope_parameters says what the first one says. Whatever the metadata
 * says that the config cannot express (scales and experts of other models, partial RoPE) is refused
 * by its key, never dropped. */
elm_status elm_gguf_config(const elm_gguf *g, const elm_gguf_architecture *a,
                           const elm_gguf_factors *factors, elm_arena *arena, const elm_json **out,
                           elm_error *err) ELM_MUST_CHECK;

#endif
