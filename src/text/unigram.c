/* unigram.c - the most probable row of pieces (Kudo 2018), by Viterbi over the bytes of a piece;
 * text.
 *
 *   best[i]   score of the best row that ends before byte i, and where its last piece begins
 *
 * As Hugging Face's encode_optimized, ties included: of equal rows the one that was found first
 * stays. */
#include "text/model.h"
#include "text/points.h"

typedef struct ending {
    double score;
    uint32_t begin; /* of the last piece; REACHED_NOT: no row ends here */
    int32_t id;
} ending;

#define REACHED_NOT UINT32_MAX

static void reach(ending *to, double score, size_t begin, int32_t id) {
    if (to->begin != REACHED_NOT && !(score > to->score)) return;
    *to = (ending){score, (uint32_t)begin, id};
}

static void forward(const elm_tokenizer *t, elm_span piece, ending *best) {
    uint32_t c;
    for (size_t at = 0, n; at < piece.size; at += n) {
        n = elm_point_at(piece, at, &c);
        double here = best[at].score;
        bool single = false;
        uint32_t node = 0;
        for (size_t i = at; i < piece.size && i - at < ELM_MAX_ADDED_BYTES; i++) {
            node = elm_trie_step(&t->pieces, node, piece.data[i]);
            if (node == 0) break;
            int32_t id = t->pieces.values[node];
            if (id < 0 || (uint32_t)id >= t->n_ids) continue;
            reach(&best[i + 1], here + t->scores[id], at, id);
            if (i + 1 - at == n) single = true;
        }
        if (!single) reach(&best[at + n], here + t->unk_score, at, t->unk_id);
    }
}

/* Characters that no piece covers: a piece of their joined text, their bytes, or the unknown token.
 */
static void emit_unknown(elm_encoding *e, elm_span text) {
    const elm_tokenizer *t = e->t;
    int32_t id = elm_tokenizer_lookup(t, text.data, text.size);
    bool bytes = id < 0 && (t->flags & ELM_TOK_BYTE_FALLBACK);
    for (size_t i = 0; i < text.size && bytes; i++) bytes = t->byte_ids[text.data[i]] >= 0;
    for (size_t i = 0; i < text.size && bytes; i++) elm_encoding_emit(e, t->byte_ids[text.data[i]]);
    if (!bytes) elm_encoding_emit(e, id >= 0 ? id : t->unk_id);
}

/* Turns the links round: begin of the next piece instead of begin of the last. */
static void turn(ending *best, size_t size) {
    uint32_t at = (uint32_t)size, behind = REACHED_NOT;
    int32_t id = ELM_NO_TOKEN;
    for (;;) {
        uint32_t before = best[at].begin;
        int32_t before_id = best[at].id;
        best[at].begin = behind;
        best[at].id = id;
        if (at == 0 || before >= at) return;
        behind = at;
        id = before_id;
        at = before;
    }
}

void elm_unigram_encode(elm_encoding *e, elm_span piece) {
    const elm_tokenizer *t = e->t;
    e->symbols.size = 0;
    if (!elm_buf_reserve(&e->symbols, (piece.size + 1) * sizeof(ending))) return;
    ending *best = (ending *)(void *)e->symbols.data;
    for (size_t i = 0; i <= piece.size; i++) best[i] = (ending){0, REACHED_NOT, ELM_NO_TOKEN};
    forward(t, piece, best);
    turn(best, piece.size);
    for (uint32_t at = 0, end; at < piece.size && best[at].begin != REACHED_NOT; at = end) {
        end = best[at].begin;
        if (best[at].id != t->unk_id) {
            elm_encoding_emit(e, best[at].id);
            continue;
        }
        while ((t->flags & ELM_TOK_FUSE_UNK) && end < piece.size && best[end].id == t->unk_id)
            end = best[end].begin;
        emit_unknown(e, elm_span_of(piece.data + at, end - at));
    }
}
