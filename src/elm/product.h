/* product.h - what a compiler made of a model for one target: the record and an opaque blob, and
 * whether it may be used here; elm.
 *
 * A blob goes to a driver that nobody here can look into. So it is used only when it was made from
 * these weights, is what its record says, and is trusted: sealed with this machine's key, signed
 * by a key that the caller trusts, or trusted by the caller in so many words. */
#ifndef ELM_ELM_PRODUCT_H
#define ELM_ELM_PRODUCT_H

#include "base/json.h"
#include "elm/append.h"
#include "elm/root.h"

typedef struct elm_product {
    const elm_section *section;
    const char *target; /* "qualcomm:sm8750"; the section's name */
    elm_span record_text;
    const elm_json *record; /* an object; in the arena that was given */
    elm_span blob;          /* not yet checked against its hash */
    uint8_t made_from[32], blob_sha256[32], seal[32];
    uint8_t digest[32]; /* of all that is above but the seal: what is sealed and signed */
} elm_product;

/* Reads and checks head and record of `s`, a PRODUCT section of an open container. */
elm_status elm_product_read(elm_container *c, const elm_section *s, elm_arena *arena,
                            elm_product *out, elm_error *err) ELM_MUST_CHECK;

/* Why a product may be used. */
typedef struct elm_trust {
    elm_span machine_key; /* secret of this device; empty = none */
    elm_signature_check check;
    void *context;
    bool everything; /* the caller vouches for every product */
} elm_trust;

/* ELM_OK when the product fits the file and is trusted. Otherwise the reason and the remedy:
 * ELM_MALFORMED for a damaged blob or one made from other weights, ELM_UNSUPPORTED for one that
 * nobody vouches for. Reads the whole blob. */
elm_status elm_product_judge(elm_container *c, const elm_product *p, const elm_trust *trust,
                             elm_error *err) ELM_MUST_CHECK;

/* What a compiler hands over. record: a JSON object with, as far as they are known, "backend",
 * "target", "sdk", "driver", "compiler", "options", "entries"; docs/elm-format.md section 13. */
typedef struct elm_new_product {
    const char *target;
    elm_span record, blob;
    elm_span machine_key; /* empty: not sealed */
} elm_new_product;

/* Appends a product to the model at `path` (append.h); one of the same target is replaced. Nothing
 * is written when that very product is there already. */
elm_status elm_product_add(const elm_platform *platform, const char *path,
                           const elm_new_product *product, bool *out_written,
                           elm_error *err) ELM_MUST_CHECK;

/* Takes over the products of `other` that were made from the weights of the model at `path`, with
 * their signatures. n_same: those that were there already. A product made from other weights is
 * ELM_MALFORMED, as is a file without products. */
typedef struct elm_attach_result {
    uint32_t n_added, n_replaced, n_same;
} elm_attach_result;
elm_status elm_product_attach(const elm_platform *platform, const char *path, elm_container *other,
                              elm_attach_result *out, elm_error *err) ELM_MUST_CHECK;

#endif
