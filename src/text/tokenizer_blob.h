/* tokenizer_blob.h - the TOKENIZER section: tables that are used as they lie in the mapping; text.
 *
 * docs/elm-format-tokenizer.md is the normative description. Little-endian; every table begins on 8
 * bytes.
 *
 *   elm_disk_tokenizer                  header: counts, and the offset of every table
 *   u32 spelling_offsets[n_ids + 1]     into spellings
 *   u8  spellings[]                     raw bytes for byte-level vocabularies
 *   u8  flags[n_ids]                    ELM_TOKEN_*
 *   u32 lookup[slots]                   id + 1 by FNV-1a of the spelling: what the model may give
 *   u32 merges[n_merges][3]             {left, right, result}; the rank is the index
 *   u32 merge_slots[slots]              index + 1 by elm_pair_hash(left, right)
 *   u8  joins[]                         bit set by elm_pair_hash of two symbols that some token
 *                                       holds side by side
 *   f64 scores[n_ids]                   of score merging and Unigram
 *   i32 byte_ids[256]                   the symbol or fallback token of every byte, -1 = none
 *   3 tries                             raw added tokens, normalised added tokens, Unigram pieces
 *   elm_disk_step steps[]               normalizer, pre-tokenizer, decoder steps, in this order
 *   elm_disk_item items[], elm_disk_class classes[], u32 ranges[][2]   pattern programs (matcher.h)
 *   i32 prefix[], suffix[]              ids that the post-processor puts around a text
 *   u8  texts[]                         strings of steps, UTF-8
 *
 * Opening checks the header, the sizes of all tables and all of the small ones. The large ones are
 * not read then: the accessors below check what they take from them, so that a hostile section
 * gives wrong ids, never a read outside. Both hash tables use linear probing, 0 = empty, at most
 * ELM_MAX_PROBES probes. */
#ifndef ELM_TEXT_TOKENIZER_BLOB_H
#define ELM_TEXT_TOKENIZER_BLOB_H

#include "base/hash.h"
#include "text/tokenizer.h"

enum {
    ELM_TOKENIZER_VERSION = 2,
    ELM_TOKENIZER_MAX_IDS = 1 << 22,
    ELM_TOKENIZER_MAX_MERGES = 1 << 23,
    ELM_MAX_ADDED_BYTES = 1024, /* longest added token, and longest piece of a Unigram vocabulary */
    ELM_MAX_STEPS = 64,
    ELM_MAX_PATTERN_ITEMS = 4096,
    ELM_MAX_ALTERNATIVE_ITEMS = 128, /* bounds the depth of the matcher */
    ELM_MAX_PATTERN_CLASSES = 1024,
    ELM_MAX_PATTERN_RANGES = 1 << 17,
    ELM_MAX_AROUND = 16, /* ids before, or after, a text */
    ELM_MAX_PROBES = 512,
    ELM_MAX_TEXT_BYTES = 1 << 30,
    ELM_MAX_DECODE_STRIP = 64,
};

enum {
    ELM_TOKEN_SPECIAL =
        1, /* read in template parts only; skipped by skip_special; never made by the model */
    ELM_TOKEN_ADDED = 2,  /* matched in the text before the model runs */
    ELM_TOKEN_LSTRIP = 4, /* takes the white space before it */
    ELM_TOKEN_RSTRIP = 8, /* and behind it */
    ELM_TOKEN_SINGLE_WORD = 16,
    ELM_TOKEN_BYTE = 32,  /* <0xXX>: decodes to that byte */
    ELM_TOKEN_WHOLE = 64, /* a piece that is spelled so becomes this one token */
};

typedef enum elm_tokenizer_model {
    ELM_MODEL_BPE = 0,     /* merges by rank */
    ELM_MODEL_SPM = 1,     /* merges by score */
    ELM_MODEL_UNIGRAM = 2, /* best path by score */
    ELM_N_MODELS
} elm_tokenizer_model;

enum {                            /* flags of the header */
       ELM_TOK_BYTE_LEVEL = 1,    /* symbols are bytes */
       ELM_TOK_BYTE_FALLBACK = 2, /* unknown characters become byte tokens */
       ELM_TOK_FUSE_UNK = 4,      /* neighbouring unknown characters are one unknown token */
};

typedef enum elm_step_kind {
    ELM_STEP_NORMALIZE = 1, /* form `a` (elm_form) */
    ELM_STEP_LOWERCASE = 2,
    ELM_STEP_STRIP = 3, /* white space on the left (a) and on the right (b) */
    ELM_STEP_STRIP_MARKS = 4,
    ELM_STEP_REPLACE = 5,         /* text -> text2, everywhere */
    ELM_STEP_REPLACE_PATTERN = 6, /* every match of program `a` -> text2 */
    ELM_STEP_PREPEND = 7,         /* text in front of a segment that is not empty */
    ELM_FIRST_SPLITTER = 16,
    ELM_STEP_SPLIT = 16, /* program `a`, behaviour `b`, c = 1: inverted */
    ELM_STEP_METASPACE =
        17, /* spaces -> text; in front of a piece where there is none, by scheme `a` */
    ELM_STEP_PREFIX_SPACE = 18, /* a space in front of a piece where there is none */
    ELM_FIRST_DECODER = 32,
    ELM_STEP_DECODE_REPLACE = 32,   /* text -> text2 */
    ELM_STEP_DECODE_METASPACE = 33, /* text -> space; dropped in the first token when a = 1 */
    ELM_STEP_DECODE_STRIP = 34, /* up to `a` code points `text` on the left and `b` on the right */
    ELM_STEP_DECODE_BYTES = 35, /* runs of <0xXX> are text */
    ELM_STEP_DECODE_FUSE = 36,  /* steps behind it see the whole text, those before it one token */
    ELM_STEP_DECODE_BYTE_LEVEL = 37, /* spellings are bytes; fuses */
    ELM_STEP_DECODE_JOIN = 38,       /* a space between tokens */
    ELM_END_STEPS
} elm_step_kind;

typedef enum elm_prepend_scheme {
    ELM_PREPEND_NEVER,
    ELM_PREPEND_FIRST,
    ELM_PREPEND_ALWAYS
} elm_prepend_scheme;

typedef enum elm_split_behavior {
    ELM_SPLIT_ISOLATED,
    ELM_SPLIT_REMOVED,
    ELM_SPLIT_MERGED_PREVIOUS,
    ELM_SPLIT_MERGED_NEXT,
    ELM_SPLIT_CONTIGUOUS,
    ELM_N_SPLITS
} elm_split_behavior;

typedef struct elm_disk_step {
    uint32_t kind, a, b, c;
    uint32_t text, text_bytes, text2, text2_bytes; /* places in texts */
} elm_disk_step;

/* A set of code points. */
typedef struct elm_disk_class {
    uint32_t ascii[4];              /* bit set of those below 128 */
    uint32_t first_range, n_ranges; /* the others: ascending ranges {first, last} */
} elm_disk_class;

/* One step of a pattern program (matcher.h). */
typedef struct elm_disk_item {
    uint32_t kind;     /* elm_item_kind */
    uint32_t min, max; /* repetitions */
    uint32_t class;
    uint32_t target;   /* of a split, a jump; of an alternative: the next one, or the end */
    uint32_t flags;    /* of an alternative: ELM_ALT_NOT_ASCII */
    uint32_t first[4]; /* of an alternative: the ASCII characters that can begin it */
} elm_disk_item;

typedef struct elm_disk_table {
    uint32_t offset, count; /* bytes from the beginning of the section; elements */
} elm_disk_table;

enum {
    ELM_TAB_SPELLING_OFFSETS,
    ELM_TAB_SPELLINGS,
    ELM_TAB_FLAGS,
    ELM_TAB_LOOKUP,
    ELM_TAB_MERGES,
    ELM_TAB_MERGE_SLOTS,
    ELM_TAB_JOINS,
    ELM_TAB_SCORES,
    ELM_TAB_BYTE_IDS,
    ELM_TAB_ADDED, /* a trie takes three tables: first edges, bytes, values */
    ELM_TAB_ADDED_NORMALIZED = ELM_TAB_ADDED + 3,
    ELM_TAB_PIECES = ELM_TAB_ADDED_NORMALIZED + 3,
    ELM_TAB_STEPS = ELM_TAB_PIECES + 3,
    ELM_TAB_ITEMS,
    ELM_TAB_CLASSES,
    ELM_TAB_RANGES,
    ELM_TAB_PREFIX,
    ELM_TAB_SUFFIX,
    ELM_TAB_TEXTS,
    ELM_N_TABLES
};

typedef struct elm_disk_tokenizer {
    uint8_t magic[8]; /* "ELMTOK\0\0" */
    uint32_t version, model, flags, n_ids;
    int32_t unk_id;
    uint32_t max_spelling; /* bytes of the longest spelling in the lookup table */
    double unk_score;      /* of an unknown character, in Unigram */
    elm_disk_table tables[ELM_N_TABLES];
} elm_disk_tokenizer;

/* Bytes to values. Nodes are numbered level by level: edge number e leads to node e + 1; node 0 is
 * the root. */
typedef struct elm_trie {
    const uint32_t *first; /* [n_nodes + 1] first edge of every node */
    const uint8_t *bytes;  /* [n_nodes - 1] of the edges, ascending within a node */
    const int32_t *values; /* [n_nodes] -1 = none */
    uint32_t n_nodes;      /* 0: an empty trie */
} elm_trie;

struct elm_tokenizer {
    const elm_allocator *alloc;
    uint32_t model, flags, n_ids, max_spelling;
    int32_t unk_id;
    double unk_score;
    const uint32_t *spelling_offsets;
    const uint8_t *spellings, *token_flags;
    uint32_t n_spellings;
    const uint32_t *lookup;
    uint32_t lookup_mask;
    const uint32_t *merges; /* [n_merges][3] */
    uint32_t n_merges;
    const uint32_t *merge_slots;
    uint32_t merge_mask;
    const uint8_t *joins; /* NULL: pieces are never cut */
    uint32_t joins_mask;
    const double *scores;
    const int32_t *byte_ids;
    elm_trie added, added_normalized, pieces;
    bool added_first[256], normalized_first[256]; /* the bytes that begin an added token */
    bool marks_needed; /* a special token is matched in normalised text */
    const elm_disk_step *steps;
    uint32_t n_steps, first_splitter, first_decoder; /* normalizer, pre-tokenizer, decoder */
    uint32_t bytes_step, fuse_step;                  /* in steps; n_steps: there is none */
    const elm_disk_item *items;
    const elm_disk_class *classes;
    const uint32_t *ranges; /* [][2] */
    const int32_t *prefix, *suffix;
    uint32_t n_prefix, n_suffix;
    const uint8_t *texts;
};

static inline uint32_t elm_pair_hash(uint32_t a, uint32_t b) {
    uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

/* The id that the model gives for a spelling, or ELM_NO_TOKEN. */
static inline int32_t elm_tokenizer_lookup(const elm_tokenizer *t, const uint8_t *text,
                                           size_t size) {
    if (size > t->max_spelling) return ELM_NO_TOKEN;
    uint32_t slot = (uint32_t)elm_fnv1a(text, size) & t->lookup_mask;
    for (uint32_t probes = 0; probes < ELM_MAX_PROBES; probes++) {
        uint32_t id = t->lookup[slot] - 1;
        if (id >= t->n_ids) return ELM_NO_TOKEN; /* empty slots too */
        uint32_t begin = t->spelling_offsets[id], end = t->spelling_offsets[id + 1];
        if (begin <= end && end <= t->n_spellings && end - begin == size &&
            memcmp(t->spellings + begin, text, size) == 0) {
            return (int32_t)id;
        }
        slot = (slot + 1) & t->lookup_mask;
    }
    return ELM_NO_TOKEN;
}

/* The rank of a merge, or UINT32_MAX when the pair does not merge. */
static inline uint32_t elm_tokenizer_rank(const elm_tokenizer *t, uint32_t a, uint32_t b) {
    uint32_t slot = elm_pair_hash(a, b) & t->merge_mask;
    for (uint32_t probes = 0; probes < ELM_MAX_PROBES; probes++) {
        uint32_t rank = t->merge_slots[slot] - 1;
        if (rank >= t->n_merges) return UINT32_MAX;
        const uint32_t *m = t->merges + (size_t)rank * 3;
        if (m[0] == a && m[1] == b) return m[2] < t->n_ids ? rank : UINT32_MAX;
        slot = (slot + 1) & t->merge_mask;
    }
    return UINT32_MAX;
}

/* Whether two neighbouring symbols may end up in one token. */
static inline bool elm_tokenizer_joins(const elm_tokenizer *t, uint32_t a, uint32_t b) {
    uint32_t bit = elm_pair_hash(a, b) & t->joins_mask;
    return t->joins[bit >> 3] >> (bit & 7) & 1;
}

/* The node behind the edge `byte`, or 0. */
static inline uint32_t elm_trie_step(const elm_trie *t, uint32_t node, uint8_t byte) {
    uint32_t low = t->first[node], high = t->first[node + 1];
    if (high >= t->n_nodes) return 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->bytes[middle] == byte) return middle + 1;
        if (t->bytes[middle] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static inline elm_span elm_step_text(const elm_tokenizer *t, const elm_disk_step *s) {
    return elm_span_of(t->texts + s->text, s->text_bytes);
}
static inline elm_span elm_step_text2(const elm_tokenizer *t, const elm_disk_step *s) {
    return elm_span_of(t->texts + s->text2, s->text2_bytes);
}

#endif
