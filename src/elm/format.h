/* format.h - the layout of an .elm file, as docs/elm-format.md specifies it. All numbers
 * little-endian.
 *
 *   0       header slot A (4096 bytes)     the valid slot with the higher generation counts
 *   4096    header slot B (4096 bytes)
 *   8192    zeros up to 65536
 *   65536   sections, each aligned to 65536, zeros between; then the TOC, aligned to 65536
 *   TOC     elm_disk_toc, elm_disk_section[n_sections], chunk checksums u32[] of all sections
 *           in order
 *
 * committed_end = end of the TOC; what lies behind it is ignored and reported. */
#ifndef ELM_ELM_FORMAT_H
#define ELM_ELM_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define ELM_MAGIC "ELM\x89\r\n\x1a\n" /* 8 bytes; catches text-mode transfers, as PNG's does */
#define ELM_TOC_MAGIC "ELMTOC\0\0"
enum {
    ELM_FORMAT_MAJOR = 0, /* 0.x: any change may break old files, and opening says so */
    ELM_FORMAT_MINOR = 1,
    ELM_SLOT_BYTES = 4096,
    ELM_N_SLOTS = 2,
    ELM_SECTION_ALIGN = 65536,
    ELM_MAX_SECTION_ALIGN = 1 << 30,
    ELM_MAX_SECTIONS = 256,
    ELM_MAX_TOC_BYTES = 64 << 20,
    ELM_MIN_CHUNK_BYTES = 4096,
    ELM_MAX_CHUNK_BYTES = 1 << 20,
    ELM_TENSOR_ALIGN = 16384, /* code planes of matrices, in the WEIGHTS section */
    ELM_PLANE_ALIGN = 64,     /* every other plane */
    ELM_MAX_TENSORS = 1 << 20,
    ELM_MAX_TENSOR_NAME = 512, /* bytes */
    ELM_MAX_SCALE_EXP = 126,   /* either sign */
};

/* X(NAME, number, text, must understand, may occur many times). Numbers are never reused. */
#define ELM_SECTION_LIST(X)            \
    X(META, 1, "meta", 1, 0)           \
    X(GRAPH, 2, "graph", 1, 0)         \
    X(TENSORS, 3, "tensors", 1, 0)     \
    X(WEIGHTS, 4, "weights", 1, 0)     \
    X(TOKENIZER, 5, "tokenizer", 1, 0) \
    X(TEMPLATE, 6, "template", 1, 0)   \
    X(QUANT, 7, "quant", 0, 0)         \
    X(PROCESSOR, 8, "processor", 0, 0) \
    X(PRODUCT, 9, "product", 0, 1)     \
    X(RETIRED, 10, "retired", 0, 1)    \
    X(SIGNATURE, 11, "signature", 0, 1) \
    X(DROPPED, 12, "dropped", 0, 0)

typedef enum elm_section_type {
#define X(name, number, text, must, many) ELM_SECTION_##name = number,
    ELM_SECTION_LIST(X)
#undef X
} elm_section_type;

enum { ELM_SECTION_MUST_UNDERSTAND = 1u };

typedef struct elm_disk_slot {
    uint8_t magic[8];
    uint16_t major, minor;
    uint32_t slot_bytes; /* 4096 */
    uint64_t generation; /* 1, 2, ... */
    uint64_t toc_offset;
    uint64_t toc_bytes;
    uint64_t committed_end; /* = toc_offset + toc_bytes */
    uint8_t toc_sha256[32];
    uint32_t reserved; /* 0 */
    uint32_t crc32c;   /* of the whole slot with this field 0 (the zeros behind it included) */
} elm_disk_slot;       /* followed by zeros up to 4096 */
static_assert(sizeof(elm_disk_slot) == 88, "slot layout");

typedef struct elm_disk_toc {
    uint8_t magic[8]; /* "ELMTOC\0\0" */
    uint32_t n_sections;
    uint32_t section_bytes; /* sizeof(elm_disk_section) */
    uint64_t n_checksums;
    uint64_t previous_toc; /* offset of the TOC of the generation before, 0 = none */
} elm_disk_toc;
static_assert(sizeof(elm_disk_toc) == 32, "toc layout");

typedef struct elm_disk_section {
    uint32_t type;
    uint32_t flags;
    uint64_t offset;         /* multiple of ELM_SECTION_ALIGN */
    uint64_t size;           /* bytes of content; zeros follow up to the next section or TOC */
    uint64_t alignment;      /* power of two from ELM_SECTION_ALIGN to ELM_MAX_SECTION_ALIGN */
    uint32_t chunk_bytes;    /* power of two */
    uint32_t n_chunks;       /* ceil(size / chunk_bytes) */
    uint64_t first_checksum; /* index into the checksums behind the section table */
    uint8_t sha256[32];      /* of the content */
    char name[48];           /* of a product: its target; else empty; zeros behind it */
} elm_disk_section;
static_assert(sizeof(elm_disk_section) == 128, "section layout");

/* A PRODUCT section: this head, the record (JSON), zeros, the blob up to the end of the section. */
#define ELM_PRODUCT_MAGIC "ELMPROD\0"
enum {
    ELM_MAX_PRODUCT_RECORD = 1 << 20, /* bytes of JSON */
    ELM_BLOB_ALIGN = 4096,            /* of the blob, from the start of the section */
};

typedef struct elm_disk_product {
    uint8_t magic[8];
    uint32_t head_bytes; /* sizeof(elm_disk_product) */
    uint32_t record_bytes;
    uint64_t blob_offset; /* behind the record, at the next multiple of ELM_BLOB_ALIGN */
    uint64_t blob_bytes;
    uint8_t made_from[32]; /* root of GRAPH, TENSORS and WEIGHTS */
    uint8_t blob_sha256[32];
    uint8_t seal[32]; /* HMAC-SHA256 of the product's digest with the maker's key; zeros = none */
    uint8_t reserved[32];
} elm_disk_product;
static_assert(sizeof(elm_disk_product) == 160, "product layout");

/* A SIGNATURE section is one of these. */
#define ELM_SIGNATURE_MAGIC "ELMSIG\0\0"
enum { ELM_SIGNATURE_ED25519 = 1 };
typedef enum elm_signed_kind { ELM_SIGNED_MODEL = 1, ELM_SIGNED_PRODUCT = 2 } elm_signed_kind;

typedef struct elm_disk_signature {
    uint8_t magic[8];
    uint32_t algorithm; /* ELM_SIGNATURE_ED25519 */
    uint32_t kind;      /* elm_signed_kind */
    uint8_t digest[32]; /* of the model or the product */
    uint8_t key_id[32]; /* SHA-256 of the public key's 32 bytes */
    uint8_t signature[64];
} elm_disk_signature;
static_assert(sizeof(elm_disk_signature) == 144, "signature layout");

/* The DROPPED section: one of these for each section that strip left out, types ascending. */
typedef struct elm_disk_dropped {
    uint32_t type, reserved;
    uint64_t size;
    uint8_t sha256[32];
} elm_disk_dropped;
static_assert(sizeof(elm_disk_dropped) == 48, "dropped layout");

/* One record of the TENSORS section: u32 count, u32 record bytes, then records, then the names'
 * bytes. Plane offsets are relative to the WEIGHTS section. */
typedef struct elm_disk_tensor {
    uint32_t name_offset; /* into the name bytes, which begin behind the records and follow their
                             order */
    uint16_t name_bytes;
    uint8_t dtype, layout;
    uint8_t n_dims, reserved[3];
    uint32_t dims[4]; /* unused ones are 0 */
    uint32_t group;
    int32_t scale_exp;
    uint32_t reserved2;
    uint64_t codes_offset, codes_bytes;
    uint64_t scales_offset, scales_bytes;
    uint64_t zeros_offset, zeros_bytes;
} elm_disk_tensor;
static_assert(sizeof(elm_disk_tensor) == 88, "tensor layout");

#endif
