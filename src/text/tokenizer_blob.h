/* tokenizer_blob.h - the TOKENIZER section: tables that are used as they lie in the mapping; text.
 *
 *   elm_disk_tokenizer                     header: counts, and the offset of every table (8-byte
 * aligned) u32 spelling_offsets[n_ids + 1]        into spellings; raw bytes for byte-level
 * vocabularies u8  spellings[] u8  flags[n_ids]                       ELM_TOKEN_* u32
 * lookup[lookup_slots]               id + 1 by FNV-1a of the spelling, linear probing, 0 = empty
 *   u32 merges[n_merges][3]                {left, right, result}, the rank is the index
 *   u32 merge_slots[merge_slot_count]      index + 1 by elm_merge_hash(left, right)
 *   f32 scores[n_ids]                      of a score-merging vocabulary
 *   i32 byte_ids[256]                      the symbol or fallback token of every byte, -1 = none
 *   u8  added_lengths[256][32]             bit set of the lengths of added tokens, by first byte
 *   elm_disk_step steps[]                  normalizer, pre-tokenizer and decoder steps, in order
 *   elm_disk_item items[], ranges[]        pattern programs (matcher.h)
 *   i32 prefix[], suffix[]                 ids that the post-processor puts around a text
 *   u8  texts[]                            strings of steps */
#ifndef ELM_TEXT_TOKENIZER_BLOB_H
#define ELM_TEXT_TOKENIZER_BLOB_H

#include "text/tokenizer.h"

enum {
    ELM_TOKENIZER_VERSION = 1,
    ELM_TOKENIZER_MAX_IDS = 1 << 22,
    ELM_TOKENIZER_MAX_MERGES = 1 << 23,
    ELM_MAX_ADDED_BYTES = 255, /* longest added token */
    ELM_MAX_STEPS = 64,
    ELM_MAX_PATTERN_ITEMS = 4096,
    ELM_MAX_PATTERN_RANGES = 16384,
};

enum {
    ELM_TOKEN_SPECIAL = 1,    /* read in template parts only; skipped by skip_special */
    ELM_TOKEN_ADDED = 2,      /* matched in the text before the model runs */
    ELM_TOKEN_NORMALIZED = 4, /* an added token that is matched after normalisation */
    ELM_TOKEN_LSTRIP = 8,
    ELM_TOKEN_RSTRIP = 16,
    ELM_TOKEN_SINGLE_WORD = 32,
    ELM_TOKEN_BYTE = 64,     /* <0xXX>: decodes to that byte */
    ELM_TOKEN_PRESENT = 128, /* the id has a spelling */
};

typedef enum elm_tokenizer_model { ELM_MODEL_BPE = 0, ELM_MODEL_SPM = 1 } elm_tokenizer_model;

enum {                            /* flags of the header */
       ELM_TOK_BYTE_LEVEL = 1,    /* symbols are bytes */
       ELM_TOK_BYTE_FALLBACK = 2, /* unknown characters become byte tokens */
       ELM_TOK_IGNORE_MERGES = 4, /* a piece that is in the vocabulary is one token */
       ELM_TOK_FUSE_UNK = 8,
};

typedef enum elm_step_kind {
    ELM_STEP_NFC = 1,                /* normalizer */
    ELM_STEP_REPLACE = 2,            /* text -> text2, everywhere */
    ELM_STEP_PREPEND = 3,            /* text in front of a text that is not empty */
    ELM_STEP_PREPEND_FIRST = 4,      /* the same, only where the segment begins the whole text */
    ELM_STEP_PREFIX_SPACE = 5,       /* a space in front where there is none */
    ELM_STEP_SPLIT = 16,             /* pre-tokenizer: pattern `a`, behaviour `b` */
    ELM_STEP_DECODE_REPLACE = 32,    /* decoder: text -> text2 in every token */
    ELM_STEP_DECODE_STRIP_LEFT = 33, /* up to `a` leading spaces of the whole text */
} elm_step_kind;

typedef enum elm_split_behavior {
    ELM_SPLIT_ISOLATED,
    ELM_SPLIT_REMOVED,
    ELM_SPLIT_MERGED_PREVIOUS,
    ELM_SPLIT_MERGED_NEXT,
    ELM_SPLIT_CONTIGUOUS,
    ELM_SPLIT_INVERTED_REMOVED, /* what lies between matches is dropped */
    ELM_N_SPLITS
} elm_split_behavior;

typedef struct elm_disk_step {
    uint32_t kind, a, b;
    uint32_t text, text_bytes, text2, text2_bytes;
    uint32_t reserved;
} elm_disk_step;

/* One step of a pattern program (matcher.h). */
typedef struct elm_disk_item {
    uint32_t kind;       /* elm_item_kind */
    uint32_t min, max;   /* repetitions */
    uint32_t categories; /* bit set of elm_category */
    uint32_t flags;      /* ELM_CLASS_* */
    uint32_t first_range, n_ranges;
    uint32_t reserved;
} elm_disk_item;

typedef struct elm_disk_table {
    uint32_t offset, count; /* count of elements */
} elm_disk_table;

enum {
    ELM_TAB_SPELLING_OFFSETS,
    ELM_TAB_SPELLINGS,
    ELM_TAB_FLAGS,
    ELM_TAB_LOOKUP,
    ELM_TAB_MERGES,
    ELM_TAB_MERGE_SLOTS,
    ELM_TAB_SCORES,
    ELM_TAB_BYTE_IDS,
    ELM_TAB_ADDED_LENGTHS,
    ELM_TAB_STEPS,
    ELM_TAB_ITEMS,
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
    uint32_t reserved;
    elm_disk_table tables[ELM_N_TABLES];
} elm_disk_tokenizer;

struct elm_tokenizer {
    const elm_allocator *alloc;
    uint32_t model, flags, n_ids;
    int32_t unk_id;
    const uint32_t *spelling_offsets;
    const uint8_t *spellings, *token_flags;
    const uint32_t *lookup;
    uint32_t lookup_mask;
    const uint32_t *merges; /* [n_merges][3] */
    uint32_t n_merges;
    const uint32_t *merge_slots;
    uint32_t merge_mask;
    const float *scores;
    const int32_t *byte_ids;
    const uint8_t *added_lengths; /* [256][32] */
    const elm_disk_step *steps;
    uint32_t n_steps;
    const elm_disk_item *items;
    const uint32_t *ranges; /* [][2] */
    const int32_t *prefix, *suffix;
    uint32_t n_prefix, n_suffix;
    const uint8_t *texts;
    bool has_normalized_added;
    uint32_t strip_left;
};

static inline uint32_t elm_merge_hash(uint32_t a, uint32_t b) {
    uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

/* Finds a spelling; ELM_NO_TOKEN when it is not there. */
int32_t elm_tokenizer_lookup(const elm_tokenizer *t, const uint8_t *text, size_t size);

/* Rank and result of a merge; false when the pair does not merge. */
static inline bool elm_tokenizer_merge(const elm_tokenizer *t, uint32_t a, uint32_t b,
                                       uint32_t *rank, uint32_t *id) {
    if (t->n_merges == 0) return false;
    for (uint32_t slot = elm_merge_hash(a, b) & t->merge_mask, probes = 0; probes <= t->merge_mask;
         probes++) {
        uint32_t index = t->merge_slots[slot];
        if (index == 0 || index > t->n_merges) return false;
        const uint32_t *m = t->merges + (size_t)(index - 1) * 3;
        if (m[0] == a && m[1] == b) {
            *rank = index - 1;
            *id = m[2];
            return true;
        }
        slot = (slot + 1) & t->merge_mask;
    }
    return false;
}

static inline elm_span elm_step_text(const elm_tokenizer *t, const elm_disk_step *s) {
    return elm_span_of(t->texts + s->text, s->text_bytes);
}
static inline elm_span elm_step_text2(const elm_tokenizer *t, const elm_disk_step *s) {
    return elm_span_of(t->texts + s->text2, s->text2_bytes);
}

#endif
