/* crypto.c - see crypto.h; cli. */
#include "cli/crypto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EDGE_LLM_HAVE_LIBCRYPTO

#include "base/hash.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

struct cli_key {
    EVP_PKEY *pkey;
    uint8_t id[32];
};

static elm_status take_key(EVP_PKEY *pkey, const char *path, cli_key **out, elm_error *err) {
    uint8_t raw[CLI_KEY_BYTES];
    size_t n = sizeof raw;
    elm_sha256 h;
    if (!pkey || EVP_PKEY_id(pkey) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(pkey, raw, &n) != 1 || n != sizeof raw) {
        return elm_fail(
            err, ELM_MALFORMED,
            "'%s' is not an Ed25519 key; 'openssl genpkey -algorithm ed25519' makes one", path);
    }
    cli_key *key = calloc(1, sizeof *key);
    if (!key) return elm_fail_oom(err, sizeof *key, "a key");
    elm_sha256_init(&h);
    elm_sha256_update(&h, raw, sizeof raw);
    elm_sha256_final(&h, key->id);
    key->pkey = pkey;
    *out = key;
    return ELM_OK;
}

elm_status cli_key_read(const char *path, bool private_key, cli_key **out, elm_error *err) {
    *out = NULL;
    FILE *in = fopen(path, "rb");
    if (!in) return elm_fail(err, ELM_NOT_FOUND, "cannot open '%s': %s", path, strerror(errno));
    EVP_PKEY *pkey = private_key ? PEM_read_PrivateKey(in, NULL, NULL, NULL)
                                 : PEM_read_PUBKEY(in, NULL, NULL, NULL);
    fclose(in);
    if (!pkey) {
        return elm_fail(err, ELM_MALFORMED, "'%s' is not a %s key in PEM form; %s", path,
                        private_key ? "private" : "public",
                        private_key ? "'openssl genpkey -algorithm ed25519' makes one"
                                    : "'openssl pkey -in PRIVATE -pubout' gives it");
    }
    elm_status status = take_key(pkey, path, out, err);
    if (status != ELM_OK) EVP_PKEY_free(pkey);
    return status;
}

void cli_key_free(cli_key *key) {
    if (!key) return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

void cli_key_id(const cli_key *key, uint8_t out[32]) {
    memcpy(out, key->id, 32);
}

elm_status cli_key_sign(const cli_key *key, const void *message, size_t size,
                        uint8_t out[CLI_SIGNATURE_BYTES], elm_error *err) {
    size_t n = CLI_SIGNATURE_BYTES;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestSign(context, out, &n, message, size) == 1 && n == CLI_SIGNATURE_BYTES;
    EVP_MD_CTX_free(context);
    return ok ? ELM_OK : elm_fail(err, ELM_INTERNAL, "libcrypto could not sign");
}

bool cli_key_verify(const cli_key *key, const void *message, size_t size,
                    const uint8_t signature[CLI_SIGNATURE_BYTES]) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestVerify(context, signature, CLI_SIGNATURE_BYTES, message, size) == 1;
    EVP_MD_CTX_free(context);
    return ok;
}

#else /* no libcrypto */

elm_status cli_key_read(const char *path, bool private_key, cli_key **out, elm_error *err) {
    (void)path, (void)private_key;
    *out = NULL;
    return elm_fail(
        err, ELM_UNSUPPORTED,
        "this edge-llm was built without libcrypto and cannot sign or check signatures; "
        "install libssl-dev and build it again");
}

void cli_key_free(cli_key *key) {
    (void)key;
}

void cli_key_id(const cli_key *key, uint8_t out[32]) {
    (void)key;
    memset(out, 0, 32);
}

elm_status cli_key_sign(const cli_key *key, const void *message, size_t size,
                        uint8_t out[CLI_SIGNATURE_BYTES], elm_error *err) {
    (void)key, (void)message, (void)size;
    memset(out, 0, CLI_SIGNATURE_BYTES);
    return elm_fail(err, ELM_UNSUPPORTED, "this edge-llm was built without libcrypto");
}

bool cli_key_verify(const cli_key *key, const void *message, size_t size,
                    const uint8_t signature[CLI_SIGNATURE_BYTES]) {
    (void)key, (void)message, (void)size, (void)signature;
    return false;
}

#endif
