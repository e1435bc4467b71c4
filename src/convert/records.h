/* records.h - the META and QUANT sections as convert writes them; convert. */
#ifndef ELM_CONVERT_RECORDS_H
#define ELM_CONVERT_RECORDS_H

#include "edge_llm_convert.h"
#include "models/common/model_builder.h"
#include "parse/source.h"

/* What META says beyond source and model. */
typedef struct elm_meta_facts {
    const char *path;                   /* of the source, to hash its files */
    const elm_convert_options *options; /* as chosen: no scheme is left at its default */
    const char *family;
    uint32_t n_real_tokens;
    int32_t tokenizer_bos;
    uint64_t n_parameters;
} elm_meta_facts;

/* META: JSON, keys in docs/elm-format.md. No dates and no paths: the same input gives the same
 * bytes. */
elm_status elm_write_meta(const elm_source *source, const elm_model_builder *mb,
                          const elm_meta_facts *facts, elm_buf *out, elm_error *err) ELM_MUST_CHECK;

/* QUANT: one object a tensor, in the order of the file. */
typedef struct elm_quant_record {
    elm_buf text;
    elm_json_writer w;
} elm_quant_record;

void elm_quant_record_begin(elm_quant_record *q, const elm_allocator *alloc, const char *scheme);
void elm_quant_record_add(elm_quant_record *q, const elm_convert_tensor *tensor);
elm_status elm_quant_record_end(elm_quant_record *q, elm_error *err) ELM_MUST_CHECK;
void elm_quant_record_free(elm_quant_record *q);

#endif
