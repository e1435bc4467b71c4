/* kernels.h - the cpu backend's kernels as one table of function pointers. Layer: backend/cpu.
 *
 * The portable C kernels fill every slot; newer instruction sets overwrite theirs, last wins. The
 * numbers are the same to the bit whatever fills a slot, for any split of panels over threads and
 * of tokens over calls:
 *
 *   int8 activations  y = fma((float)isum, s * d, y), once per block of 32 along K, ascending, one
 *                     chain; isum = exact sum of (u - zero) * a; then y * 2^scale_exp, + bias
 *   float weights     y = fma(w, x, y), k ascending, one chain; then the same end
 *   dots and sums     16 lanes (lane = index % 16), then a tree: i and i+8, i+4, i+2, i+1
 *   int8 values       o = fma((float)isum, unit, o * c), once per block of 64 positions; isum exact
 *   elementwise       one formula for every element; the tail runs through the same vector code
 *
 * Float code is written once (kernels_float.h) over a type of 16 floats that each set defines. */
#ifndef ELM_BACKEND_CPU_KERNELS_H
#define ELM_BACKEND_CPU_KERNELS_H

#include "base/status.h"
#include "ir/p16.h"

enum {
    ELM_CPU_KV_BLOCK = 64,      /* positions of one step of the online softmax, absolute */
    ELM_CPU_WEIGHT_ONE = 32512, /* the largest weight of int8 values: 127 * 256 */
    ELM_CPU_WEIGHT_CODES = 128, /* bytes of 64 such weights */
    ELM_CPU_TOKEN_BLOCK = 512,  /* tokens whose sums a linear kernel keeps in its scratch */
    ELM_CPU_LINEAR_SCRATCH =
        144 * 1024, /* bytes a thread hands to a linear kernel, 64-byte aligned */
};

/* A matrix that a linear reads, P16. Borrowed. */
typedef struct elm_cpu_weight {
    elm_dtype dtype;
    uint32_t n_rows, n_cols;
    uint32_t n_panels;
    uint32_t n_blocks;     /* ceil(n_cols / 32): blocks that hold anything */
    uint32_t k_padded;     /* of the code plane; n_cols for floats */
    uint32_t group_blocks; /* blocks that share a scale */
    uint32_t n_groups;     /* rows of 16 scales of one panel */
    const void *codes;
    const uint16_t *scales;
    const uint8_t *zeros; /* NULL: symmetric */
    float unit;           /* 2^scale_exp; 1 for floats */
    const float *bias;    /* [n_rows] or NULL */
} elm_cpu_weight;

/* Activations quantised in blocks of 32. Strides: bytes of q, elements of the others. */
typedef struct elm_cpu_acts {
    int8_t *q; /* [n_tokens][q_stride], in [-127, 127], zero up to the end of the last block */
    float *d;  /* [n_tokens][block_stride] scale */
    int32_t
        *start; /* [n_tokens][block_stride] (-8 * S_even, -8 * S_odd) as two int16, low half even */
    int32_t *sum; /* [n_tokens][block_stride] S = S_even + S_odd; even: k % 4 in {0, 1} */
    size_t q_stride, block_stride;
} elm_cpu_acts;

/* y[t][row] for t < n_tokens and the rows of some panels. */
typedef struct elm_cpu_linear {
    const elm_cpu_weight *weight;
    elm_cpu_acts acts; /* the int8 kernels read these */
    const float *x;    /* [n_tokens][x_stride]: the float kernels this */
    size_t x_stride;
    float *y; /* [n_tokens][y_stride]; only columns below weight->n_rows are written */
    size_t y_stride;
    uint32_t n_tokens;
} elm_cpu_linear;

/* Computes panels [begin, end). `scratch` holds ELM_CPU_LINEAR_SCRATCH bytes. */
typedef void (*elm_cpu_linear_fn)(const elm_cpu_linear *job, size_t begin, size_t end,
                                  void *scratch);
/* Scores of n_q queries and the first n_k at least of a block of 64 keys, stored as backend/kv.h says;
 * rows of s are 64 floats: s = fma(q_i[d], k_j[d], s), d ascending. `ahead`: bytes from here to the
 * next block of this head, which is asked for. */
typedef void (*elm_cpu_scores_fn)(const float *q, size_t q_stride, size_t n_q, const void *k,
                                  size_t dim, size_t n_k, size_t ahead, float *s);
/* o_i = o_i * c_i, then for j ascending o_i = fma(p_i[j], v_j, o_i); p rows are 64 floats, width %
 * 16
 * == 0. */
typedef void (*elm_cpu_values_fn)(const float *p, const float *c, size_t n_q, const void *v,
                                  size_t n_v, size_t width, size_t ahead, float *o,
                                  size_t o_stride);

typedef struct elm_cpu_kernels {
    elm_cpu_linear_fn linear_i4;    /* I4, I4Z weights, int8 activations */
    elm_cpu_linear_fn linear_i8;    /* I8, I8Z */
    elm_cpu_linear_fn linear_float; /* any weight, float activations */
    /* One row of n floats to ceil(n / 32) blocks: d = amax / 127, code = round to even of x * (127
     * / amax). */
    void (*quantize)(const float *x, size_t n, int8_t *q, float *d, int32_t *start, int32_t *sum);
    /* y = x / sqrt(mean(x^2) + eps) * w; w may be NULL. y may be x. */
    void (*rms_norm)(const float *x, const float *w, size_t n, float eps, float *y);
    /* Rotates n pairs: a = a*c - b*s, b = b*c + a*s. cs: [n] cosines, then [n] sines. out may be
     * in. */
    void (*rotate)(const float *a, const float *b, const float *cs, size_t n, float *out_a,
                   float *out_b);
    /* y = activation(gate) * up; up may be NULL. */
    void (*glu)(const float *gate, const float *up, size_t n, int32_t activation, float *y);
    void (*add)(const float *a, const float *b, size_t n, float *y);
    /* y = cap * tanh(x / cap). y may be x. */
    void (*softcap)(const float *x, size_t n, float cap, float *y);
    /* y[i] = activation(sum over j of rows[j][i] * taps[j * taps_stride + i]), j ascending. */
    void (*conv)(const float *const *rows, const float *taps, size_t taps_stride, size_t n_taps,
                 size_t n, int32_t activation, float *y);
    /* One token of a delta net's head, S [n_k][stride], n % 16 == 0 columns: d = (v - decay S^T k)
     * beta; S = decay S + k d^T; o = S^T q (q and o NULL: not wanted). */
    void (*delta_step)(float *s, size_t stride, size_t n_k, size_t n, const float *k,
                       const float *q, const float *v, float decay, float beta, float *o);
    /* c[i][j] += sum over p of a[i * a_row + p * a_col] * b[p][j], p ascending; i < m, p < n_k, j <
     * n, n % 16 == 0. */
    void (*gemm)(const float *a, size_t a_row, size_t a_col, const float *b, size_t b_stride,
                 size_t m, size_t n_k, size_t n, float *c, size_t c_stride);
    /* x[i] -= sum over j < i of a[i][j] x[j], rows in turn; a rows are 64 floats, n % 16 == 0. */
    void (*solve)(const float *a, size_t n_rows, size_t n, float *x, size_t stride);
    /* Indexed by elm_kv dtype: 0 f32, 1 f16. */
    elm_cpu_scores_fn scores[2];
    elm_cpu_values_fn values[2];
    /* As scores, over int8 keys with int8 queries: s = fma((float)isum, d, s), once per 32
     * dimensions, ascending. */
    void (*scores_i8)(const elm_cpu_acts *q, size_t n_q, const int8_t *k, size_t dim, float *s);
    /* The weights of a block of 64 int8 values as integers: code = round to even of p * scale *
     * (ELM_CPU_WEIGHT_ONE / largest p * scale), 0 where p is 0 whatever the scale. Returns what a
     * code of 1 weighs. `codes`: ELM_CPU_WEIGHT_CODES bytes, in a form of the set's own, for its
     * values_i8. */
    float (*weigh_i8)(const float *p, const float *scales, void *codes);
    /* o_i = fma((float)isum, unit_i, o_i * c_i), isum = the exact sum over 64 positions of code *
     * value; values stored as backend/kv.h says, width % 16 == 0. codes: [n_q]. */
    void (*values_i8)(const void *codes, const float *unit, const float *c, size_t n_q,
                      const int8_t *v, size_t width, float *o, size_t o_stride);
    /* s = s * by * scale for a row of 64; by may be NULL. */
    void (*scale_scores)(float *s, const float *by, float scale);
    /* One step of the online softmax for n rows of 64 scores, -inf where masked, in place: scores to
     * weights; of each row m to the new maximum, l to the new sum, c = the factor of what was summed
     * before. */
    void (*softmax)(float *s, size_t n, float *m, float *l, float *c);
    /* o = o * a + p * b, for joining two partial sums. */
    void (*join)(float *o, float a, const float *p, float b, size_t n);
    float (*exponential)(float x); /* the exp that softmax uses */
    /* Floats to stored rows. */
    void (*to_f16)(const float *x, size_t n, uint16_t *out);
    float (*to_i8)(const float *x, size_t n, int8_t *out); /* returns the scale */
    /* The limit that the int4 and int8 linears are measured against: `rounds` times a run of their
     * multiply-adds on registers, nothing else. Returns the operations done; a multiply-add is two.
     */
    uint64_t (*peak_i4)(size_t rounds);
    uint64_t (*peak_i8)(size_t rounds);
} elm_cpu_kernels;

/* Fills every slot with the best of what `features` (ELM_CPU_* bits) allows. */
void elm_cpu_kernels_init(elm_cpu_kernels *k, uint32_t features);

/* What each instruction set fills; the C one fills everything. */
void elm_cpu_kernels_c(elm_cpu_kernels *k);
void elm_cpu_kernels_avx2(elm_cpu_kernels *k);
void elm_cpu_kernels_avxvnni(elm_cpu_kernels *k);
void elm_cpu_kernels_avx512(elm_cpu_kernels *k);
void elm_cpu_kernels_neon(elm_cpu_kernels *k);
void elm_cpu_kernels_dotprod(elm_cpu_kernels *k);
void elm_cpu_kernels_i8mm(elm_cpu_kernels *k);

#endif
