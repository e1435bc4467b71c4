/* sort.h - sorting of tables that come from a file: no memory, n log n whatever the order; base.
 *
 * The C library's qsort may allocate, and is quadratic on chosen input in some of them. */
#ifndef ELM_BASE_SORT_H
#define ELM_BASE_SORT_H

#include <stddef.h>

/* Sorts n items of `size` bytes ascending by `compare` (as qsort's). Not stable. */
void elm_heap_sort(void *items, size_t n, size_t size,
                   int (*compare)(const void *a, const void *b));

#endif
