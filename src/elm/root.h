/* root.h - what a file is by its content: digests over sections, and the signatures over them; elm.
 *
 * A root is one SHA-256 over type, size and SHA-256 of sections, in the order of their types. It
 * says nothing of where they lie, so compact, strip and attach do not change it. The SHA-256 of a
 * section is taken from the table of contents; who must be sure of the bytes checks them
 * (elm_section_check_sha256). */
#ifndef ELM_ELM_ROOT_H
#define ELM_ELM_ROOT_H

#include "elm/container.h"

/* META, GRAPH, TENSORS, WEIGHTS, TOKENIZER, TEMPLATE, QUANT, PROCESSOR: what convert wrote. */
elm_status elm_root_of_model(elm_container *c, uint8_t out[32], elm_error *err) ELM_MUST_CHECK;
/* GRAPH, TENSORS and WEIGHTS: what a product is made from. */
elm_status elm_root_of_weights(elm_container *c, uint8_t out[32], elm_error *err) ELM_MUST_CHECK;

bool elm_section_is_immutable(uint32_t type);

/* Size and SHA-256 of the section of a type, or of one that strip left out (DROPPED section); *found
 * = 0 neither, 1 here, 2 left out. */
elm_status elm_section_digest(elm_container *c, elm_section_type type, uint64_t *size,
                              uint8_t sha256[32], int *found, elm_error *err) ELM_MUST_CHECK;

/* Compares a section's bytes with the SHA-256 in the table of contents. */
elm_status elm_section_check_sha256(const elm_container *c, const elm_section *s,
                                    elm_error *err) ELM_MUST_CHECK;

/* ---- signatures: made and checked by the caller, who owns the cryptography ---- */

enum { ELM_SIGNED_MESSAGE_BYTES = 64 };

typedef struct elm_signature {
    elm_signed_kind kind;
    uint8_t digest[32], key_id[32], signature[64];
} elm_signature;

/* The bytes that are signed: "edge-llm signature 1", zeros, kind, digest. */
void elm_signed_message(elm_signed_kind kind, const uint8_t digest[32],
                        uint8_t out[ELM_SIGNED_MESSAGE_BYTES]);

/* True when `signature` over `message` is good under a key that the caller trusts. */
typedef bool (*elm_signature_check)(void *context, const elm_signature *signature,
                                    const uint8_t message[ELM_SIGNED_MESSAGE_BYTES]);

/* Reads a SIGNATURE section, checked. */
elm_status elm_signature_read(elm_container *c, const elm_section *s, elm_signature *out,
                              elm_error *err) ELM_MUST_CHECK;
void elm_signature_write(const elm_signature *signature, uint8_t out[sizeof(elm_disk_signature)]);

/* Whether the file holds a signature of this digest that `check` accepts; *n_seen counts those of
 * the digest. */
elm_status elm_signature_find(elm_container *c, elm_signed_kind kind, const uint8_t digest[32],
                              elm_signature_check check, void *context, bool *good,
                              uint32_t *n_seen, elm_error *err) ELM_MUST_CHECK;

#endif
