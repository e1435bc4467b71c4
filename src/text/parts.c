/* parts.c - see parts.h; text. */
#include "text/parts.h"

void elm_parts_init(elm_parts *parts, const elm_allocator *alloc, size_t max_text_bytes) {
    elm_buf_init(&parts->text, alloc, max_text_bytes);
    elm_buf_init(&parts->list, alloc, max_text_bytes * sizeof(elm_part) + sizeof(elm_part));
}

void elm_parts_free(elm_parts *parts) {
    elm_buf_free(&parts->text);
    elm_buf_free(&parts->list);
}

void elm_parts_clear(elm_parts *parts) {
    elm_buf_clear(&parts->text);
    elm_buf_clear(&parts->list);
}

void elm_parts_append(elm_parts *parts, elm_span text, elm_part_origin origin) {
    size_t n = elm_parts_count(parts), begin = parts->text.size;
    elm_buf_append(&parts->text, text.data, text.size);
    if (parts->text.size == begin) return;
    elm_part *last = n > 0 ? (elm_part *)(void *)parts->list.data + n - 1 : NULL;
    if (last && last->origin == origin) {
        last->end = parts->text.size;
        return;
    }
    elm_part part = {begin, parts->text.size, origin};
    elm_buf_append(&parts->list, &part, sizeof part);
}

elm_status elm_parts_check(const elm_parts *parts, const char *what, elm_error *err) {
    elm_status status = elm_buf_check(&parts->text, what, err);
    return status == ELM_OK ? elm_buf_check(&parts->list, what, err) : status;
}
