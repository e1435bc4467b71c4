/* draft_mtp.h - guesses of the file's own draft graph, a multi-token-prediction head; runtime.
 *
 * The head runs on pairs: at position p the text graph's hidden row of p and the token behind it,
 * x[p + 1]; the logits are a guess at x[p + 2]. Its KV state holds the pairs of positions
 * [0, next): those whose hidden row was seen and whose token is known. Hidden rows stay in the text
 * graph's scratch until its next step, so what they still give is run before that step. To guess
 * further, a guess and the head's own hidden row make the next pair; those pairs are overwritten by
 * the true ones later. Rows that were never seen (a loaded session, a prefix from the cache of
 * sessions without a draft) leave a gap that makes guesses worse and nothing else. */
#ifndef ELM_RUNTIME_DRAFT_MTP_H
#define ELM_RUNTIME_DRAFT_MTP_H

#include "runtime/speculate.h"

typedef struct elm_mtp elm_mtp;
typedef struct elm_work elm_work;

/* ELM_UNSUPPORTED when the file has no draft graph. */
elm_status elm_mtp_measure(const elm_model *m, uint64_t *bytes, elm_error *err) ELM_MUST_CHECK;
elm_status elm_mtp_create(const elm_session *s, elm_mtp **out, elm_error *err) ELM_MUST_CHECK;
void elm_mtp_free(elm_mtp *mtp);

/* A step of the text graph left hidden rows of positions [first, first + n). */
void elm_mtp_saw(elm_mtp *mtp, const elm_session *s, const elm_work *work, uint32_t first,
                 uint32_t n);
/* The timeline was cut to n tokens. */
void elm_mtp_cut(elm_mtp *mtp, uint32_t n);
/* Whether the hidden row of a position is at hand. */
bool elm_mtp_has_row(const elm_mtp *mtp, uint32_t position);
/* Runs the pairs that the rows at hand complete. */
elm_status elm_mtp_prime(elm_mtp *mtp, elm_session *s, elm_error *err) ELM_MUST_CHECK;
/* The memory of the rows goes away. */
void elm_mtp_forget_rows(elm_mtp *mtp);
elm_status elm_mtp_propose(elm_mtp *mtp, elm_session *s, uint32_t most, int32_t *out, uint32_t *n,
                           elm_error *err) ELM_MUST_CHECK;

#endif
