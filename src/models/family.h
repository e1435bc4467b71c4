/* family.h - a model family: one file here turns a checkpoint's config and tensors into the graph.
 *
 * The device half never sees a family's name. To add one: docs/adding-a-model.md. */
#ifndef ELM_MODELS_FAMILY_H
#define ELM_MODELS_FAMILY_H

#include "models/common/model_builder.h"

typedef struct elm_family {
    const char *name;
    const char *const *model_types; /* values of config.json's model_type; NULL-terminated */
    /* Reads the config, binds every tensor, builds the graph "text". */
    elm_status (*build)(elm_model_builder *mb, elm_error *err);
} elm_family;

/* NULL-terminated. */
extern const elm_family *const elm_families[];

/* The family of a model_type, or NULL. */
const elm_family *elm_family_find(elm_span model_type);

#endif
