/* sort.c - heap sort; base. */
#include "base/sort.h"

#include <stdint.h>

static void swap_items(uint8_t *a, uint8_t *b, size_t size) {
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = a[i];
        a[i] = b[i];
        b[i] = byte;
    }
}

static void sift_down(uint8_t *items, size_t root, size_t n, size_t size,
                      int (*compare)(const void *a, const void *b)) {
    while (root < n / 2) {
        size_t child = 2 * root + 1;
        if (child + 1 < n && compare(items + child * size, items + (child + 1) * size) < 0) child++;
        if (compare(items + root * size, items + child * size) >= 0) return;
        swap_items(items + root * size, items + child * size, size);
        root = child;
    }
}

void elm_heap_sort(void *items, size_t n, size_t size,
                   int (*compare)(const void *a, const void *b)) {
    uint8_t *p = items;
    for (size_t root = n / 2; root-- > 0;) sift_down(p, root, n, size, compare);
    for (size_t left = n; left-- > 1;) {
        swap_items(p, p + left * size, size);
        sift_down(p, 0, left, size, compare);
    }
}
