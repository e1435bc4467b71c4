/* version.c - the library's version; api. */
#include "edge_llm.h"

const char *elm_version(void) {
    return EDGE_LLM_VERSION;
}
