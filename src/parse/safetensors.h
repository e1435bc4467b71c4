/* safetensors.h - the header of one .safetensors file into a checkpoint; parse. */
#ifndef ELM_PARSE_SAFETENSORS_H
#define ELM_PARSE_SAFETENSORS_H

#include "parse/checkpoint.h"

enum { ELM_SAFETENSORS_MAX_HEADER = 100 << 20 };

/* Reads the header of shard number `shard` (already open) and hands each tensor to `add`. */
typedef elm_status (*elm_tensor_fn)(void *context, const elm_source_tensor *tensor, elm_error *err);
elm_status elm_safetensors_read(elm_checkpoint *ck, uint32_t shard, elm_tensor_fn add,
                                void *context, elm_error *err) ELM_MUST_CHECK;

#endif
