/* speculate.h - speculative decoding: guesses for the next tokens, checked in one step; runtime.
 *
 * A step over the pending token and k guesses gives k + 1 rows of logits. The sampler draws from
 * them in turn, with the numbers that it would have drawn one by one, for as long as the guess that
 * a row was computed for is what it drew. So the tokens are those of plain decoding, whatever is
 * guessed: greedy or sampled, a guess changes the time they take and nothing else. (A guess is one
 * token, a proposal that is certain of it; accepting it when the target draws it is what rejection
 * sampling does with such a proposal.)
 *
 * Guesses come from the timeline itself (what followed the last time that its end was seen), from a
 * smaller model with the same tokenizer, or from the file's own draft graph. */
#ifndef ELM_RUNTIME_SPECULATE_H
#define ELM_RUNTIME_SPECULATE_H

#include "runtime/model.h"

typedef struct elm_session elm_session;
typedef struct elm_draft elm_draft;
typedef struct elm_work elm_work;

/* Tokens guessed at most: with the pending one they are the rows of a step. */
enum { ELM_MAX_DRAFT = ELM_DECODE_ROWS - 1 };

/* Refuses options that do not go together, and says what they take. */
elm_status elm_draft_measure(const elm_model *m, const elm_session_options *o, uint64_t *bytes,
                             elm_error *err) ELM_MUST_CHECK;
/* NULL when the options ask for none. */
elm_status elm_draft_create(elm_session *s, const elm_session_options *o, elm_draft **out,
                            elm_error *err) ELM_MUST_CHECK;
void elm_draft_free(elm_draft *d);

/* What a draft must hear of: a step is about to run; it ran [first, first + n); the timeline was
 * cut to n tokens; the scratch of `work` goes away. */
elm_status elm_draft_before_step(elm_session *s, elm_error *err) ELM_MUST_CHECK;
void elm_draft_after_step(elm_session *s, const elm_work *work, uint32_t first, uint32_t n);
void elm_draft_cut(elm_session *s, uint32_t n);
void elm_draft_forget_rows(elm_session *s);
/* Whether the draft wants position n - 1 to run again before what follows the first n tokens: its
 * pair is not complete, and its hidden row is gone. */
bool elm_draft_wants_last(const elm_session *s, uint32_t n);

/* Puts at most `most` guesses behind the timeline, into s->tokens[n_tokens ...]; *n is how many. */
elm_status elm_draft_propose(elm_session *s, uint32_t most, uint32_t *n,
                             elm_error *err) ELM_MUST_CHECK;
/* How many of them were right, and what proposing and checking took. More are made while all are
 * right, and none for a while when they do not pay. */
void elm_draft_verified(elm_session *s, uint32_t n_proposed, uint32_t n_accepted, uint64_t us);

/* The first of the largest of logits[n]. */
int32_t elm_likeliest(const float *logits, uint32_t n);
/* What followed the longest earlier occurrence of the last tokens, the latest among equals. */
uint32_t elm_lookup_propose(const int32_t *tokens, uint32_t n_tokens, uint32_t most, int32_t *out);

#endif
