/* layers.h - which layers see a window and which see everything, from either config style. */
#ifndef ELM_MODELS_COMMON_LAYERS_H
#define ELM_MODELS_COMMON_LAYERS_H

#include "models/common/model_builder.h"

/* windows[n_layers]: the window of each layer, 0 = full. `layer_types` decides where it is present
 * (unknown words are refused by name); else layer i is full when pattern > 0 and (i + 1) % pattern
 * == 0, and every layer slides when pattern is 0 and window is not. */
elm_status elm_mb_layer_windows(const elm_model_builder *mb, uint32_t n_layers, uint32_t window,
                                uint32_t pattern, uint32_t *windows, elm_error *err) ELM_MUST_CHECK;

#endif
