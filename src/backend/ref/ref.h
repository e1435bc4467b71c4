/* ref.h - inside the oracle backend: one function an operation; backend/ref.
 *
 * Plain C with double accumulation, on the caller's thread, never optimised: what it computes is
 * what docs/ops.md says, read literally. */
#ifndef ELM_BACKEND_REF_REF_H
#define ELM_BACKEND_REF_REF_H

#include "backend/backend.h"

enum { ELM_REF_ROWS = 4 };

/* Everything that one node needs in one step. */
typedef struct elm_ref_call {
    const elm_prepare_info *info;
    const elm_node *node;
    const elm_step *step;
    float *row; /* scratch for ELM_REF_ROWS rows of the widest value or weight */
    size_t row_floats;
} elm_ref_call;

/* Rows that a value has in this step, its inner elements, and where a row lies. */
uint32_t elm_ref_rows(const elm_ref_call *c, elm_value_id id);
uint32_t elm_ref_token(const elm_ref_call *c, elm_value_id id, uint32_t row); /* of the step */
uint32_t elm_ref_inner(const elm_ref_call *c, elm_value_id id);
float *elm_ref_row(const elm_ref_call *c, elm_value_id id, uint32_t row);
const elm_tensor *elm_ref_weight(const elm_ref_call *c,
                                 uint32_t input); /* NULL when that input is absent */

/* activation(x), see ELM_SILU. */
double elm_ref_activate(int32_t activation, double x);

/* One row of activations in groups of 32: codes (as floats holding integers) and scales. */
void elm_ref_quantise(const float *x, uint32_t n, float *codes, float *scales);
/* Row `row` of a (tall) P16 matrix times x, or times its codes and scales. */
double elm_ref_dot(const elm_tensor *w, size_t row, const float *x);
double elm_ref_dot_quantised(const elm_tensor *w, size_t row, const float *codes,
                             const float *scales);

void elm_ref_embedding(const elm_ref_call *c);
void elm_ref_linear(const elm_ref_call *c);
void elm_ref_rms_norm(const elm_ref_call *c);
void elm_ref_rope(const elm_ref_call *c);
void elm_ref_kv_write(const elm_ref_call *c);
void elm_ref_attention(const elm_ref_call *c);
void elm_ref_glu(const elm_ref_call *c);
void elm_ref_add(const elm_ref_call *c);
void elm_ref_gather_rows(const elm_ref_call *c);
void elm_ref_concat(const elm_ref_call *c);
void elm_ref_mul(const elm_ref_call *c);
void elm_ref_softcap(const elm_ref_call *c);
void elm_ref_load_hidden(const elm_ref_call *c);
void elm_ref_causal_conv1d(const elm_ref_call *c);
void elm_ref_gated_delta_net(const elm_ref_call *c);
void elm_ref_moe(const elm_ref_call *c);

#endif
