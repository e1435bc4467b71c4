/* cmd_sign.c - edge-llm sign: an Ed25519 signature over what convert wrote, and over each product;
 * cli. */
#include "cli/trust.h"

#include <string.h>

typedef struct signing {
    elm_appender a;
    cli_key *key;
    elm_signature made[ELM_MAX_SECTIONS]; /* still to be written */
    uint32_t n_made, n_there;
} signing;

/* What is signed must be what the file holds, not what its table of contents says. */
static elm_status check_bytes(const elm_container *c, elm_error *err) {
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        if (elm_section_is_immutable(s->type)) ELM_TRY(elm_section_check_sha256(c, s, err));
    }
    return ELM_OK;
}

static elm_status add(signing *s, elm_signed_kind kind, const uint8_t digest[32], elm_error *err) {
    uint8_t message[ELM_SIGNED_MESSAGE_BYTES];
    elm_signature *signature = &s->made[s->n_made];
    bool good;
    uint32_t n;
    ELM_TRY(elm_signature_find(&s->a.c, kind, digest, cli_trust_check, s->key, &good, &n, err));
    if (good) {
        s->n_there++;
        return ELM_OK;
    }
    signature->kind = kind;
    memcpy(signature->digest, digest, 32);
    cli_key_id(s->key, signature->key_id);
    elm_signed_message(kind, digest, message);
    ELM_TRY(cli_key_sign(s->key, message, sizeof message, signature->signature, err));
    s->n_made++;
    return ELM_OK;
}

static elm_status sign_all(signing *s, elm_error *err) {
    uint8_t root[32];
    const elm_trust everything = {.everything = true};
    elm_container *c = &s->a.c;
    ELM_TRY(check_bytes(c, err));
    ELM_TRY(elm_root_of_model(c, root, err));
    ELM_TRY(add(s, ELM_SIGNED_MODEL, root, err));
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_product p;
        if (c->sections[i].type != ELM_SECTION_PRODUCT) continue;
        ELM_TRY(elm_product_read(c, &c->sections[i], &c->arena, &p, err));
        ELM_TRY(elm_product_judge(c, &p, &everything, err));
        ELM_TRY(add(s, ELM_SIGNED_PRODUCT, p.digest, err));
    }
    return ELM_OK;
}

static elm_status write_all(signing *s, elm_error *err) {
    if (s->n_made == 0) return ELM_OK;
    ELM_TRY(elm_append_start(&s->a, s->n_made * (uint64_t)ELM_SECTION_ALIGN, err));
    for (uint32_t i = 0; i < s->n_made; i++) {
        uint8_t content[sizeof(elm_disk_signature)];
        elm_body *b = &s->a.body;
        elm_signature_write(&s->made[i], content);
        ELM_TRY(elm_body_begin(b, ELM_SECTION_SIGNATURE, ELM_MIN_CHUNK_BYTES, NULL, err));
        ELM_TRY(elm_body_write(b, content, sizeof content, err));
        ELM_TRY(elm_body_end(b, err));
    }
    return elm_append_commit(&s->a, err);
}

static int run(const cli_options *o) {
    static signing s;
    elm_error err;
    uint8_t id[32] = {0};
    if (!o->key) return cli_fail(ELM_INVALID_ARGUMENT, "sign needs --key PRIVATE.pem");
    elm_status status = cli_key_read(o->key, true, &s.key, &err);
    if (status == ELM_OK)
        status = elm_append_open(elm_platform_default(), o->positional[0], &s.a, &err);
    if (status == ELM_OK) status = sign_all(&s, &err);
    if (status == ELM_OK) status = write_all(&s, &err);
    if (s.key) cli_key_id(s.key, id);
    elm_append_close(&s.a);
    cli_key_free(s.key);
    if (status != ELM_OK) return cli_error(&err);
    char key[17];
    for (size_t i = 0; i < 8; i++) snprintf(key + 2 * i, 3, "%02x", id[i]);
    if (o->json)
        printf("{\"schema_version\": 1, \"added\": %u, \"there_already\": %u, \"key\": \"%s\"}\n",
               s.n_made, s.n_there, key);
    else
        printf("%s: %u signature%s added, %u there already, key %s\n", o->positional[0], s.n_made,
               s.n_made == 1 ? "" : "s", s.n_there, key);
    return 0;
}

const cli_command cli_sign = {"sign",
                              "sign MODEL --key PRIVATE.pem",
                              "sign a model and its products",
                              "  openssl genpkey -algorithm ed25519 -out private.pem\n"
                              "  openssl pkey -in private.pem -pubout -out public.pem\n"
                              "  edge-llm sign model.elm --key private.pem\n"
                              "  edge-llm verify model.elm --key public.pem\n",
                              1,
                              1,
                              run};
