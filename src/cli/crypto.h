/* crypto.h - Ed25519 keys and signatures, behind this one file; cli.
 *
 * The cryptography is libcrypto's (OpenSSL). A build without it says so in every call. Keys are PEM
 * files as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them. */
#ifndef ELM_CLI_CRYPTO_H
#define ELM_CLI_CRYPTO_H

#include "base/status.h"

enum { CLI_KEY_BYTES = 32, CLI_SIGNATURE_BYTES = 64 };

typedef struct cli_key cli_key;

/* Reads a private or a public key. ELM_UNSUPPORTED when this build has no libcrypto. Free with
 * cli_key_free. */
elm_status cli_key_read(const char *path, bool private_key, cli_key **out,
                        elm_error *err) ELM_MUST_CHECK;
void cli_key_free(cli_key *key);

/* SHA-256 of the raw public key: names it in signatures. */
void cli_key_id(const cli_key *key, uint8_t out[32]);

elm_status cli_key_sign(const cli_key *key, const void *message, size_t size,
                        uint8_t out[CLI_SIGNATURE_BYTES], elm_error *err) ELM_MUST_CHECK;
bool cli_key_verify(const cli_key *key, const void *message, size_t size,
                    const uint8_t signature[CLI_SIGNATURE_BYTES]);

#endif
