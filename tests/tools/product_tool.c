/* product_tool.c - adds a product to a model, for tests: there is no compiler for other targets yet.
 *
 *   product_tool MODEL TARGET RECORD BLOB [MACHINE-KEY]     record and blob are the texts themselves */
#include <stdio.h>
#include <string.h>

#include "elm/product.h"

int main(int argc, char **argv) {
    elm_error err;
    bool written;
    if (argc < 5) return 2;
    const elm_new_product p = {.target = argv[2],
                               .record = elm_span_str(argv[3]),
                               .blob = elm_span_str(argv[4]),
                               .machine_key = elm_span_str(argc > 5 ? argv[5] : "")};
    if (elm_product_add(elm_platform_default(), argv[1], &p, &written, &err) != ELM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return elm_status_exit_code(err.code);
    }
    puts(written ? "written" : "there already");
    return 0;
}
