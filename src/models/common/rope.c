/* rope.c - RoPE parameters of both config styles to a table of frequencies; models/common.
 *
 * The arithmetic follows transformers in order and precision: theta^(-2i/R) in float32 of a double
 * power's result, then the scaling in float32. */
#include "models/common/rope.h"

#include <math.h>
#include <string.h>

enum { MAX_FREQUENCIES = 4096 };

typedef struct rope_config {
    double theta;
    elm_span type;
    const elm_json *params; /* where the scaling's numbers are; NULL for default */
} rope_config;

/* rope_scaling where it is not empty, else rope_parameters: who adds the older key to a newer config
 * means it, and so does the reference. */
static const elm_json *parameters(const elm_model_builder *mb, const char *layer_type,
                                  bool scaled) {
    const elm_json *scaling = scaled ? elm_json_find(mb->config, "rope_scaling") : NULL;
    const elm_json *params = elm_json_find(mb->config, "rope_parameters");
    if (scaling && (scaling->type != ELM_JSON_OBJECT || scaling->count > 0)) params = scaling;
    const elm_json *own = params && layer_type ? elm_json_find(params, layer_type) : NULL;
    return own ? own : params;
}

/* rope_scaling beside rope_parameters: with layers of two types, what it does not say stays as it
 * was; else the reference forgets the theta of rope_parameters, which nobody means. */
static elm_status check_theta(const elm_model_builder *mb, const char *layer_type,
                              const char *theta_key, const elm_json *params, double *theta,
                              elm_error *err) {
    const elm_json *newer = elm_json_find(mb->config, "rope_parameters");
    if (newer && layer_type && elm_json_find(newer, layer_type))
        newer = elm_json_find(newer, layer_type);
    if (!newer || newer == params || !elm_json_find(newer, "rope_theta") ||
        elm_json_find(params, "rope_theta") || elm_json_find(mb->config, theta_key))
        return ELM_OK;
    if (layer_type) return elm_json_double(newer, "rope_theta", mb->where, theta, err);
    return elm_fail(err, ELM_MALFORMED,
                    "%s: rope_scaling overrides rope_parameters, but only the latter says "
                    "rope_theta; put all of it into one of them",
                    mb->where);
}

static elm_status read_config(const elm_model_builder *mb, const char *layer_type,
                              const char *theta_key, bool scaled, rope_config *out,
                              elm_error *err) {
    const elm_json *params = parameters(mb, layer_type, scaled);
    out->type = elm_span_str("default");
    ELM_TRY(elm_json_double(mb->config, theta_key, mb->where, &out->theta, err));
    if (!params) return ELM_OK;
    if (params->type != ELM_JSON_OBJECT) {
        return elm_fail(err, ELM_MALFORMED, "%s: rope parameters are not an object", mb->where);
    }
    ELM_TRY(check_theta(mb, layer_type, theta_key, params, &out->theta, err));
    ELM_TRY(elm_json_double(params, "rope_theta", mb->where, &out->theta, err));
    ELM_TRY(elm_json_string(params, "type", mb->where, &out->type, err)); /* the older key */
    ELM_TRY(elm_json_string(params, "rope_type", mb->where, &out->type, err));
    out->params = params;
    return ELM_OK;
}

static elm_status number(const elm_model_builder *mb, const rope_config *c, const char *key,
                         double *out, elm_error *err) {
    if (!elm_json_find(c->params, key)) {
        return elm_fail(err, ELM_MALFORMED, "%s: rope type '%.*s' needs '%s'", mb->where,
                        (int)c->type.size, (const char *)c->type.data, key);
    }
    ELM_TRY(elm_json_double(c->params, key, mb->where, out, err));
    if (!(*out > 0.0)) {
        return elm_fail(err, ELM_MALFORMED, "%s: rope '%s' must be above 0", mb->where, key);
    }
    return ELM_OK;
}

/* The context before it was stretched: the config's own key wins over that of the parameters. */
static elm_status original_context(const elm_model_builder *mb, const rope_config *c, double *out,
                                   elm_error *err) {
    static const char key[] = "original_max_position_embeddings";
    *out = mb->context_length;
    ELM_TRY(elm_json_double(c->params, key, mb->where, out, err));
    ELM_TRY(elm_json_double(mb->config, key, mb->where, out, err));
    if (*out > 1.0) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "%s: rope '%s' must be above 1", mb->where, key);
}

/* Long wavelengths are divided by the factor, short ones kept, those between are blended. */
static elm_status scale_llama3(const elm_model_builder *mb, const rope_config *c, float *freq,
                               uint32_t n, elm_error *err) {
    double factor = 0.0, low = 0.0, high = 0.0, original = 0.0;
    ELM_TRY(number(mb, c, "factor", &factor, err));
    ELM_TRY(number(mb, c, "low_freq_factor", &low, err));
    ELM_TRY(number(mb, c, "high_freq_factor", &high, err));
    ELM_TRY(original_context(mb, c, &original, err));
    const float two_pi = 6.2831853071795864769f;
    for (uint32_t i = 0; i < n; i++) {
        float wavelength = two_pi / freq[i];
        if (wavelength > (float)(original / low)) {
            freq[i] = freq[i] / (float)factor;
        } else if (wavelength >= (float)(original / high)) {
            float smooth = ((float)original / wavelength - (float)low) / (float)(high - low);
            freq[i] = (1.0f - smooth) * freq[i] / (float)factor + smooth * freq[i];
        }
    }
    return ELM_OK;
}

static double yarn_correction(double rotations, double dims, double theta, double original) {
    return dims * log(original / (rotations * 2.0 * 3.14159265358979323846)) / (2.0 * log(theta));
}

/* YaRN (arXiv 2309.00071): high frequencies kept, low ones divided, a linear ramp between. */
static elm_status scale_yarn(const elm_model_builder *mb, const rope_config *c, float *freq,
                             uint32_t n, float *attention, elm_error *err) {
    double factor = 0, original = 0, beta_fast = 32, beta_slow = 1, mscale = 0, mscale_all = 0;
    double attention_factor = 0;
    bool truncate = true;
    ELM_TRY(number(mb, c, "factor", &factor, err));
    ELM_TRY(original_context(mb, c, &original, err));
    ELM_TRY(elm_json_double(c->params, "beta_fast", mb->where, &beta_fast, err));
    ELM_TRY(elm_json_double(c->params, "beta_slow", mb->where, &beta_slow, err));
    ELM_TRY(elm_json_double(c->params, "mscale", mb->where, &mscale, err));
    ELM_TRY(elm_json_double(c->params, "mscale_all_dim", mb->where, &mscale_all, err));
    ELM_TRY(elm_json_double(c->params, "attention_factor", mb->where, &attention_factor, err));
    ELM_TRY(elm_json_bool(c->params, "truncate", mb->where, &truncate, err));
    double dims = 2.0 * n;
    double low = yarn_correction(beta_fast, dims, c->theta, original);
    double high = yarn_correction(beta_slow, dims, c->theta, original);
    if (truncate) low = floor(low), high = ceil(high);
    if (low < 0.0) low = 0.0;
    if (high > dims - 1.0) high = dims - 1.0;
    if (low == high) high += 0.001;
    for (uint32_t i = 0; i < n; i++) {
        float ramp = (float)(((double)i - low) / (high - low));
        ramp = ramp < 0.0f ? 0.0f : ramp > 1.0f ? 1.0f : ramp;
        float keep = 1.0f - ramp;
        freq[i] = freq[i] / (float)factor * (1.0f - keep) + freq[i] * keep;
    }
    double scale = factor <= 1.0 ? 1.0 : 0.1 * log(factor) + 1.0;
    if (mscale > 0.0 && mscale_all > 0.0) {
        scale = (0.1 * mscale * log(factor) + 1.0) / (0.1 * mscale_all * log(factor) + 1.0);
    }
    *attention = (float)(attention_factor > 0.0 ? attention_factor : scale);
    return ELM_OK;
}

/* LongRoPE (arXiv 2402.13753) as far as the original context: there the short factors hold, behind it
 * the long ones would hold for all positions at once. So the context ends there. */
static elm_status scale_longrope(elm_model_builder *mb, const rope_config *c, float *freq,
                                 uint32_t n, float *attention, elm_error *err) {
    const elm_json *list = elm_json_find(c->params, "short_factor");
    double longest = mb->context_length, original, factor, scale;
    ELM_TRY(original_context(mb, c, &original, err));
    factor = longest / original;
    ELM_TRY(elm_json_double(c->params, "factor", mb->where, &factor, err));
    if (!list || list->type != ELM_JSON_ARRAY || list->count != n) {
        return elm_fail(err, ELM_MALFORMED,
                        "%s: longrope needs a short_factor for each of %u frequencies", mb->where,
                        n);
    }
    for (uint32_t i = 0; i < n; i++) {
        const elm_json *v = &list->as.items[i];
        double divisor = v->type == ELM_JSON_INT ? (double)v->as.integer : v->as.number;
        bool number = v->type == ELM_JSON_INT || v->type == ELM_JSON_DOUBLE;
        if (!number || !(divisor > 0.0))
            return elm_fail(err, ELM_MALFORMED, "%s: a short_factor is no number above 0",
                            mb->where);
        freq[i] /= (float)divisor;
    }
    scale = factor <= 1.0 ? 1.0 : sqrt(1.0 + log(factor) / log(original));
    ELM_TRY(elm_json_double(c->params, "attention_factor", mb->where, &scale, err));
    *attention = (float)scale;
    if (original < longest) mb->context_length = (uint32_t)original;
    return ELM_OK;
}

static bool is_type(const rope_config *c, const char *name) {
    return elm_span_equal(c->type, elm_span_str(name));
}

static elm_status apply_scaling(elm_model_builder *mb, const rope_config *c, float *freq,
                                uint32_t n, float *attention, elm_error *err) {
    /* The axes of "mrope" are one and the same for text; "dynamic" changes nothing up to
     * max_position_embeddings, where the context ends. */
    if (is_type(c, "default") || is_type(c, "mrope") || is_type(c, "dynamic")) return ELM_OK;
    if (is_type(c, "linear")) {
        double factor;
        ELM_TRY(number(mb, c, "factor", &factor, err));
        for (uint32_t i = 0; i < n; i++) freq[i] /= (float)factor;
        return ELM_OK;
    }
    if (is_type(c, "llama3")) return scale_llama3(mb, c, freq, n, err);
    if (is_type(c, "yarn")) return scale_yarn(mb, c, freq, n, attention, err);
    if (is_type(c, "longrope") || is_type(c, "su"))
        return scale_longrope(mb, c, freq, n, attention, err);
    return elm_fail(
        err, ELM_UNSUPPORTED,
        "%s: rope type '%.*s' is not known (default, linear, dynamic, llama3, yarn, longrope, "
        "proportional)",
        mb->where, (int)(c->type.size < 64 ? c->type.size : 64), (const char *)c->type.data);
}

elm_status elm_mb_rotary_factor(const elm_model_builder *mb, const char *layer_type, float *factor,
                                elm_error *err) {
    double value = (double)*factor;
    const elm_json *params = elm_json_find(mb->config, "rope_parameters");
    if (params && layer_type && elm_json_find(params, layer_type))
        params = elm_json_find(params, layer_type);
    if (!params) params = elm_json_find(mb->config, "rope_scaling");
    ELM_TRY(elm_json_double(mb->config, "partial_rotary_factor", mb->where, &value, err));
    ELM_TRY(elm_json_double(params, "partial_rotary_factor", mb->where, &value, err));
    if (!(value > 0.0 && value <= 1.0)) {
        return elm_fail(err, ELM_MALFORMED, "%s: partial_rotary_factor is %g; expected 0..1",
                        mb->where, value);
    }
    *factor = (float)value;
    return ELM_OK;
}

/* Of n frequencies those behind the rotated share are zero: they are left out. */
static elm_status proportional(const elm_model_builder *mb, const char *layer_type,
                               const rope_config *c, float *freq, uint32_t *n, elm_error *err) {
    float share = 1.0f;
    double factor = 1.0;
    ELM_TRY(elm_mb_rotary_factor(mb, layer_type, &share, err));
    ELM_TRY(elm_json_double(c->params, "factor", mb->where, &factor, err));
    uint32_t kept = (uint32_t)((double)share * (double)(*n * 2) / 2.0);
    if (kept == 0 || !(factor > 0.0)) {
        return elm_fail(err, ELM_MALFORMED, "%s: a proportional rope that rotates nothing",
                        mb->where);
    }
    for (uint32_t i = 0; i < kept; i++) freq[i] /= (float)factor;
    *n = kept;
    return ELM_OK;
}

elm_status elm_mb_rope(elm_model_builder *mb, const char *layer_type, const char *theta_key,
                       double default_theta, bool scaled, uint32_t rotated, const char *name,
                       elm_rope *out, elm_error *err) {
    rope_config c = {.theta = default_theta};
    float freq[MAX_FREQUENCIES];
    uint32_t n = rotated / 2;
    if (rotated % 2 != 0 || n == 0 || n > MAX_FREQUENCIES) {
        return elm_fail(err, ELM_UNSUPPORTED, "%s: cannot rotate %u dimensions (even, at most %d)",
                        mb->where, rotated, 2 * MAX_FREQUENCIES);
    }
    ELM_TRY(read_config(mb, layer_type, theta_key, scaled, &c, err));
    if (!(c.theta > 0.0)) {
        return elm_fail(err, ELM_MALFORMED, "%s: rope_theta must be above 0", mb->where);
    }
    for (uint32_t i = 0; i < n; i++) {
        freq[i] = 1.0f / (float)pow(c.theta, (double)((float)(2 * i) / (float)rotated));
    }
    out->scale = 1.0f;
    if (scaled && mb->rope_factors) {
        if (mb->n_rope_factors != n) {
            return elm_fail(err, ELM_MALFORMED,
                            "rope_freqs has %u factors; %u frequencies need as many",
                            mb->n_rope_factors, n);
        }
        for (uint32_t i = 0; i < n; i++) freq[i] /= mb->rope_factors[i];
    } else if (is_type(&c, "proportional")) {
        ELM_TRY(proportional(mb, layer_type, &c, freq, &n, err));
    } else {
        ELM_TRY(apply_scaling(mb, &c, freq, n, &out->scale, err));
    }
    out->inv_freq = elm_mb_table(mb, name, freq, n);
    out->pair_stride = (int32_t)(rotated / 2);
    return ELM_OK;
}
