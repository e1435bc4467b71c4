/* layers.h - which layers see a window and which see everything, from either config style. */
#ifndef ELM_MODELS_COMMON_LAYERS_H
#define ELM_MODELS_COMMON_LAYERS_H

#include "models/common/model_builder.h"

/* windows[n_layers]: the window of each layer, 0 = full. `layer_types` decides where it is present
 * (unknown words are refused by name); else layer i is full when pattern > 0 and (i + 1) % pattern
 * == 0, and every layer slides when pattern is 0 and window is not. */
elm_status elm_mb_layer_windows(const elm_model_builder *mb, uint32_t n_layers, uint32_t window,
                                uint32_t pattern, uint32_t *windows, elm_error *err) ELM_MUST_CHECK;

/* What sliding_window is before it is read: `def` where the config does not say, 0 (none) where it
 * says null. */
uint32_t elm_mb_window_or(const elm_model_builder *mb, uint32_t def);

/* windows[n_layers] of Qwen2 and Qwen3: with use_sliding_window the layers from max_window_layers
 * (`first` where it is absent) on slide; layer_types, where present, decides. */
elm_status elm_mb_later_windows(const elm_model_builder *mb, uint32_t first, uint32_t *windows,
                                elm_error *err) ELM_MUST_CHECK;

#endif
