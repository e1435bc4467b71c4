/* trust.h - what the command line trusts products by: this machine's key and the --key option; cli.
 */
#ifndef ELM_CLI_TRUST_H
#define ELM_CLI_TRUST_H

#include "cli/cli.h"
#include "cli/crypto.h"
#include "elm/product.h"

typedef struct cli_trust {
    elm_trust trust;
    cli_key *key;
    char machine_id[64];
} cli_trust;

/* key_path may be NULL. Close in any case. */
elm_status cli_trust_open(cli_trust *t, const char *key_path, elm_error *err) ELM_MUST_CHECK;
void cli_trust_close(cli_trust *t);

/* The elm_signature_check over a cli_key: good when it is that key's. */
bool cli_trust_check(void *key, const elm_signature *signature,
                     const uint8_t message[ELM_SIGNED_MESSAGE_BYTES]);

#endif
