/* gguf_reader.h - typed reading of an architecture's keys into a config.json, and what the
 * architectures write; inside parse/.
 *
 * Failures are latched in `status`: the first one stands, and later reads do nothing. A key that
 * was read counts as understood; of the others refuse_others (gguf_config.c) refuses those that
 * would change the model. */
#ifndef ELM_PARSE_GGUF_READER_H
#define ELM_PARSE_GGUF_READER_H

#include "base/json.h"
#include "parse/gguf_config.h"

enum { ELM_GGUF_MAX_KEY = 96, ELM_GGUF_MAX_LAYERS = 4096 };

typedef struct elm_gguf_reader {
    const elm_gguf *g;
    const elm_gguf_architecture *a;
    elm_json_writer w;
    const float *rope_factors; /* [n_rope_factors], divisors of the frequencies */
    uint32_t n_rope_factors;
    elm_gguf_factors short_factors, long_factors; /* of longrope */
    int64_t longest; /* positions for which the config holds, if not for all of the context; or 0 */
    bool *understood; /* [g->n_values] */
    int64_t n_layers; /* without draft heads */
    elm_status status;
    elm_error *err;
    char key[ELM_GGUF_MAX_KEY];
} elm_gguf_reader;

/* "rest" to "llama.rest", until the next call. */
const char *elm_gguf_key(elm_gguf_reader *r, const char *rest);
void elm_gguf_refuse(elm_gguf_reader *r, elm_status code, const char *key, const char *what);

/* NULL when absent. */
const elm_gguf_value *elm_gguf_get(elm_gguf_reader *r, const char *key);
/* An integer (or a list of one and the same), a finite number; false when absent. Another type is
 * refused: a default would be a guess. */
bool elm_gguf_get_int(elm_gguf_reader *r, const char *key, int64_t *out);
bool elm_gguf_get_float(elm_gguf_reader *r, const char *key, double *out);
/* One integer for all layers, or one for each: out[r->n_layers], up to `max`; false when absent. */
bool elm_gguf_get_by_layer(elm_gguf_reader *r, const char *key, int64_t max, uint32_t *out);
/* What is there goes into the config under the name `hf`. */
void elm_gguf_put_int(elm_gguf_reader *r, const char *key, const char *hf);
void elm_gguf_put_float(elm_gguf_reader *r, const char *key, const char *hf);
/* Whether the file has a tensor of that GGUF name (printf style). */
bool elm_gguf_has(const elm_gguf_reader *r, const char *fmt, ...) ELM_PRINTF(2, 3);

/* Parts of the configs below. */
int64_t elm_gguf_head_dim(elm_gguf_reader *r); /* said or derived; 0 when it cannot be known */
void elm_gguf_put_heads(elm_gguf_reader *r);
void elm_gguf_check_rotation(elm_gguf_reader *r); /* refuses partial RoPE */
void elm_gguf_put_rope(elm_gguf_reader *r);
void elm_gguf_put_sliding_layers(elm_gguf_reader *r, int64_t pattern);
/* `rotated` of `dim` as a factor that readers, who truncate, turn back into `rotated`. */
void elm_gguf_put_share(elm_gguf_reader *r, const char *hf, int64_t rotated, int64_t dim);

void elm_gguf_plain_config(elm_gguf_reader *r);
void elm_gguf_phi3_config(elm_gguf_reader *r);
void elm_gguf_mistral3_config(elm_gguf_reader *r);
void elm_gguf_granite_config(elm_gguf_reader *r);
void elm_gguf_qwen3moe_config(elm_gguf_reader *r);
void elm_gguf_qwen35_config(elm_gguf_reader *r);
void elm_gguf_gemma2_config(elm_gguf_reader *r);
void elm_gguf_gemma3_config(elm_gguf_reader *r);
void elm_gguf_gemma4_config(elm_gguf_reader *r);

#endif
