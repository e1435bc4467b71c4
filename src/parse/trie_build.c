/* trie_build.c - tries level by level; parse.
 *
 * A node is a range of the sorted keys that begin alike. Nodes are made in the order in which edges
 * are, so that edge number e leads to node e + 1 and no table of targets is needed. */
#include "parse/trie_build.h"

#include "base/sort.h"

typedef struct node {
    uint32_t begin, end, depth; /* keys [begin, end) share their first `depth` bytes */
} node;

static int compare(const void *a, const void *b) {
    const elm_trie_key *x = a, *y = b;
    size_t n = x->text.size < y->text.size ? x->text.size : y->text.size;
    int c = memcmp(x->text.data, y->text.data, n);
    if (c != 0) return c;
    if (x->text.size != y->text.size) return x->text.size < y->text.size ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

elm_status elm_trie_build(elm_arena *arena, elm_trie_key *keys, size_t n, elm_trie *out,
                          elm_error *err) {
    size_t most = 1;
    memset(out, 0, sizeof *out);
    if (n == 0) return ELM_OK;
    for (size_t i = 0; i < n; i++) most += keys[i].text.size;
    if (most > ELM_TOKENIZER_MAX_IDS * 8u) {
        return elm_fail(err, ELM_UNSUPPORTED, "the tokens have %zu bytes together; at most %u",
                        most, ELM_TOKENIZER_MAX_IDS * 8u);
    }
    elm_heap_sort(keys, n, sizeof *keys, compare);
    node *nodes = elm_arena_array(arena, most, sizeof *nodes);
    uint32_t *first = elm_arena_array(arena, most + 1, sizeof *first);
    uint8_t *bytes = elm_arena_array(arena, most, 1);
    int32_t *values = elm_arena_array(arena, most, sizeof *values);
    if (!nodes || !first || !bytes || !values)
        return elm_fail_oom(err, most * sizeof *nodes, "a trie");
    uint32_t made = 1;
    nodes[0] = (node){0, (uint32_t)n, 0};
    for (uint32_t i = 0; i < made; i++) {
        uint32_t k = nodes[i].begin, depth = nodes[i].depth;
        first[i] = made - 1;
        values[i] = ELM_NO_TOKEN;
        for (; k < nodes[i].end && keys[k].text.size == depth; k++) values[i] = keys[k].value;
        while (k < nodes[i].end) {
            uint32_t begin = k;
            uint8_t byte = keys[k].text.data[depth];
            while (k < nodes[i].end && keys[k].text.data[depth] == byte) k++;
            bytes[made - 1] = byte;
            nodes[made++] = (node){begin, k, depth + 1};
        }
    }
    first[made] = made - 1;
    *out = (elm_trie){first, bytes, values, made};
    return ELM_OK;
}
