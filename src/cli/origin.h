/* origin.h - where a file comes from and what was made of it: provenance, products and whether they
 * are valid here, signatures; for inspect; cli. */
#ifndef ELM_CLI_ORIGIN_H
#define ELM_CLI_ORIGIN_H

#include "cli/trust.h"

/* Prints the lines of a person's summary. */
elm_status cli_origin_print(elm_container *c, const cli_trust *trust,
                            elm_error *err) ELM_MUST_CHECK;

/* The members "provenance", "products" and "signatures" of the object that is open. */
elm_status cli_origin_json(elm_container *c, const cli_trust *trust, elm_json_writer *w,
                           elm_error *err) ELM_MUST_CHECK;

/* The table of sections. */
void cli_sections_print(const elm_container *c);

/* One line on stderr when one of the two header slots is damaged and the other served. */
void cli_warn_damaged_slot(const elm_container *c);

#endif
