/* gguf_config.h - a GGUF's metadata as the config.json that Hugging Face would have; parse. */
#ifndef ELM_PARSE_GGUF_CONFIG_H
#define ELM_PARSE_GGUF_CONFIG_H

#include "base/json.h"
#include "parse/gguf_names.h"

/* Builds the config in `arena`. Tensors still have GGUF's names, but rope_freqs.weight is in
 * `factors` [n_factors]; a config with rope_parameters says what they say. Whatever the metadata
 * says that the config cannot express (scales and experts of other models, partial RoPE) is refused
 * by its key, never dropped. */
elm_status elm_gguf_config(const elm_gguf *g, const elm_gguf_architecture *a, const float *factors,
                           uint32_t n_factors, elm_arena *arena, const elm_json **out,
                           elm_error *err) ELM_MUST_CHECK;

#endif
