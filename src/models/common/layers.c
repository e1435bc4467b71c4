/* layers.c - see layers.h; models/common. */
#include "models/common/layers.h"

uint32_t elm_mb_window_or(const elm_model_builder *mb, uint32_t def) {
    return elm_json_get(mb->config, "sliding_window") ? 0 : def;
}

static elm_status window_of(const elm_model_builder *mb, const elm_json *type, uint32_t layer,
                            uint32_t window, uint32_t *out, elm_error *err) {
    if (elm_json_is(type, "full_attention")) {
        *out = 0;
    } else if (elm_json_is(type, "sliding_attention")) {
        if (window == 0) {
            return elm_fail(err, ELM_MALFORMED,
                            "%s: layer %u slides, but there is no sliding_window", mb->where,
                            layer);
        }
        *out = window;
    } else {
        bool is_text = type->type == ELM_JSON_STRING;
        return elm_fail(err, ELM_UNSUPPORTED, "%s: layer type '%.*s' of layer %u is not known here",
                        mb->where,
                        is_text && type->as.string.size < 64 ? (int)type->as.string.size : 0,
                        is_text ? (const char *)type->as.string.data : "", layer);
    }
    return ELM_OK;
}

elm_status elm_mb_layer_windows(const elm_model_builder *mb, uint32_t n_layers, uint32_t window,
                                uint32_t pattern, uint32_t *windows, elm_error *err) {
    const elm_json *types = elm_json_find(mb->config, "layer_types");
    if (types && (types->type != ELM_JSON_ARRAY || types->count < n_layers)) {
        return elm_fail(err, ELM_MALFORMED, "%s: layer_types must list %u layers", mb->where,
                        n_layers);
    }
    for (uint32_t i = 0; i < n_layers; i++) {
        if (types) {
            ELM_TRY(window_of(mb, &types->as.items[i], i, window, &windows[i], err));
        } else {
            windows[i] = pattern > 0 && (i + 1) % pattern == 0 ? 0 : window;
        }
    }
    return ELM_OK;
}

elm_status elm_mb_later_windows(const elm_model_builder *mb, uint32_t first, uint32_t *windows,
                                elm_error *err) {
    uint32_t window = elm_mb_window_or(mb, 4096);
    bool use = false;
    ELM_TRY(elm_mb_optional_bool(mb, "use_sliding_window", &use, err));
    ELM_TRY(elm_mb_optional_int(mb, "max_window_layers", ELM_MAX_DIM, &first, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    ELM_TRY(elm_mb_layer_windows(mb, mb->n_layers, use ? window : 0, 0, windows, err));
    if (elm_json_find(mb->config, "layer_types")) return ELM_OK;
    for (uint32_t i = 0; i < mb->n_layers && i < first; i++) windows[i] = 0;
    return ELM_OK;
}
