/* trust.c - see trust.h; cli. */
#include "cli/trust.h"

#include <string.h>

/* systemd's machine-id(5): made at installation, not to be shown to others, and so a secret that
 * this machine has and a stranger's file cannot know. */
static const char machine_id_path[] = "/etc/machine-id";

bool cli_trust_check(void *context, const elm_signature *s,
                     const uint8_t message[ELM_SIGNED_MESSAGE_BYTES]) {
    const cli_key *key = context;
    uint8_t id[32];
    if (!key) return false;
    cli_key_id(key, id);
    return memcmp(id, s->key_id, 32) == 0 &&
           cli_key_verify(key, message, ELM_SIGNED_MESSAGE_BYTES, s->signature);
}

elm_status cli_trust_open(cli_trust *t, const char *key_path, elm_error *err) {
    memset(t, 0, sizeof *t);
    FILE *in = fopen(machine_id_path, "r");
    if (in) {
        if (fgets(t->machine_id, sizeof t->machine_id, in)) {
            size_t n = strcspn(t->machine_id, "\n");
            if (n >= 32) t->trust.machine_key = elm_span_of(t->machine_id, n);
        }
        fclose(in);
    }
    if (!key_path) return ELM_OK;
    ELM_TRY(cli_key_read(key_path, false, &t->key, err));
    t->trust.check = cli_trust_check;
    t->trust.context = t->key;
    return ELM_OK;
}

void cli_trust_close(cli_trust *t) {
    cli_key_free(t->key);
    memset(t, 0, sizeof *t);
}
