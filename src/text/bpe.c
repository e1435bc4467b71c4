/* bpe.c - byte pair encoding of a piece, by rank or (SentencePiece) by score; text.
 *
 * A piece is first cut where no token of the vocabulary holds the two symbols side by side: no
 * merge ever crosses such a place, so the parts do not know of each other. What is left is short in
 * any language. Each part becomes symbols, which merge (bpe_merge.h). */
#include "text/bpe_merge.h"
#include "text/model.h"
#include "text/points.h"

/* ---- symbols of a part ---- */

typedef struct splitter {
    elm_encoding *e;
    uint32_t n;
    bool unk; /* an unknown character waits: the next one may fuse with it */
    uint32_t unk_begin;
} splitter;

static void add(splitter *s, int32_t id, size_t begin) {
    elm_symbol x = {id, (uint32_t)begin};
    elm_buf_append(&s->e->symbols, &x, sizeof x);
    s->n++;
}

static void add_waiting(splitter *s) {
    if (s->unk) add(s, s->e->t->unk_id, s->unk_begin);
    s->unk = false;
}

/* Bytes when there is a token for each, else the unknown token. Byte tokens overtake one that
 * waits, as in Hugging Face's BPE. */
static void add_unknown(splitter *s, elm_span part, size_t begin, size_t end) {
    const elm_tokenizer *t = s->e->t;
    bool bytes = (t->flags & ELM_TOK_BYTE_FALLBACK) != 0;
    for (size_t i = begin; i < end && bytes; i++) bytes = t->byte_ids[part.data[i]] >= 0;
    if (bytes) {
        for (size_t i = begin; i < end; i++) add(s, t->byte_ids[part.data[i]], i);
    } else if (t->unk_id != ELM_NO_TOKEN) {
        if (s->unk && (t->flags & ELM_TOK_FUSE_UNK)) return;
        add_waiting(s);
        s->unk = true;
        s->unk_begin = (uint32_t)begin;
    }
}

/* Returns how many symbols there are. */
static uint32_t split(elm_encoding *e, elm_span part) {
    const elm_tokenizer *t = e->t;
    splitter s = {.e = e};
    e->symbols.size = 0;
    if (t->flags & ELM_TOK_BYTE_LEVEL) {
        for (size_t i = 0; i < part.size; i++) {
            int32_t id = t->byte_ids[part.data[i]];
            if (id < 0) {
                add_unknown(&s, part, i, i + 1);
                continue;
            }
            add_waiting(&s);
            add(&s, id, i);
        }
    } else {
        uint32_t c;
        for (size_t at = 0, n; at < part.size; at += n) {
            n = elm_point_at(part, at, &c);
            int32_t id = elm_tokenizer_lookup(t, part.data + at, n);
            if (id < 0 && t->model == ELM_MODEL_BPE) {
                add_unknown(&s, part, at, at + n);
                continue;
            }
            add_waiting(&s);
            add(&s, id, at);
        }
    }
    add_waiting(&s);
    return e->symbols.status == ELM_OK ? s.n : 0;
}

/* ---- ids ---- */

/* By score: what the text of a symbol is; a character that the vocabulary lacks becomes its bytes,
 * or unknown. */
static void emit_text(elm_encoding *e, elm_span text) {
    const elm_tokenizer *t = e->t;
    int32_t id = elm_tokenizer_lookup(t, text.data, text.size);
    if (id >= 0) {
        elm_encoding_emit(e, id);
        return;
    }
    for (size_t i = 0; i < text.size; i++) {
        id = t->byte_ids[text.data[i]];
        if (id < 0) id = t->unk_id;
        if (id >= 0) elm_encoding_emit(e, id);
    }
}

static int32_t whole(const elm_tokenizer *t, elm_span piece) {
    int32_t id = elm_tokenizer_lookup(t, piece.data, piece.size);
    return id >= 0 && (t->token_flags[id] & ELM_TOKEN_WHOLE) ? id : ELM_NO_TOKEN;
}

static void emit_tokens(elm_encoding *e, elm_span part, const elm_merged *tokens, uint32_t n,
                        uint32_t end) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t stop = i + 1 < n ? tokens[i + 1].begin : end;
        if (e->t->model == ELM_MODEL_BPE)
            elm_encoding_emit(e, tokens[i].id);
        else
            emit_text(e, elm_span_of(part.data + tokens[i].begin, stop - tokens[i].begin));
    }
}

static void encode_part(elm_encoding *e, elm_span part) {
    uint32_t n = split(e, part);
    if (n > 0) elm_bpe_merge(e, part, n, emit_tokens);
}

/* The next place behind `at` where a piece may be cut. */
static size_t next_cut(const elm_tokenizer *t, elm_span piece, size_t at) {
    uint32_t a, b;
    if (!t->joins) return piece.size;
    if (t->flags & ELM_TOK_BYTE_LEVEL) {
        for (at++; at < piece.size && elm_tokenizer_joins(t, piece.data[at - 1], piece.data[at]);)
            at++;
        return at;
    }
    for (at += elm_point_at(piece, at, &a); at < piece.size; a = b) {
        size_t n = elm_point_at(piece, at, &b);
        if (!elm_tokenizer_joins(t, a, b)) break;
        at += n;
    }
    return at;
}

void elm_bpe_encode(elm_encoding *e, elm_span piece) {
    int32_t id = whole(e->t, piece);
    if (id >= 0) {
        elm_encoding_emit(e, id);
        return;
    }
    for (size_t begin = 0, end; begin < piece.size; begin = end) {
        end = next_cut(e->t, piece, begin);
        elm_span part = elm_span_of(piece.data + begin, end - begin);
        id = part.size < piece.size ? whole(e->t, part) : ELM_NO_TOKEN;
        if (id >= 0)
            elm_encoding_emit(e, id);
        else
            encode_part(e, part);
    }
}
