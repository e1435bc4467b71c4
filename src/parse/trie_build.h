/* trie_build.h - a sorted list of keys to the trie of tokenizer_blob.h; parse. */
#ifndef ELM_PARSE_TRIE_BUILD_H
#define ELM_PARSE_TRIE_BUILD_H

#include "base/arena.h"
#include "text/tokenizer_blob.h"

typedef struct elm_trie_key {
    elm_span text; /* not empty */
    int32_t value;
} elm_trie_key;

/* Sorts the keys and builds; of equal keys the largest value stays. No keys: an empty trie. The
 * trie's tables live in the arena. */
elm_status elm_trie_build(elm_arena *arena, elm_trie_key *keys, size_t n, elm_trie *out,
                          elm_error *err) ELM_MUST_CHECK;

#endif
