/* backend.c - finding a backend in the generated table; backend. */
#include "backend/backend.h"

#include <string.h>

const elm_backend *elm_backend_find(const char *name) {
    for (size_t i = 0; elm_backend_table[i]; i++) {
        if (strcmp(elm_backend_table[i]->name, name) == 0) return elm_backend_table[i];
    }
    return NULL;
}
