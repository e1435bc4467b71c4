/* convert.c - a checkpoint to one .elm file, with its progress.   convert FOLDER|FILE.gguf OUT.elm [int4|int8|f16] */
#include <edge_llm_convert.h>
#include <stdio.h>

static void progress(void *context, const elm_convert_progress *p) {
    (void)context;
    fprintf(stderr, "\r%u of %u tensors", p->n_done, p->n_total);
}

int main(int argc, char **argv) {
    elm_convert_options options = {.struct_size = sizeof options, .on_progress = progress};
    elm_convert_result result;
    elm_error err = {0};
    if (argc < 3 || argc > 4 || (argc == 4 && !elm_quant_parse(argv[3], &options.quant)))
        return fputs("usage: convert FOLDER|FILE.gguf OUT.elm [int4|int8|f16]\n", stderr), 2;

    elm_status status = elm_convert(argv[1], argv[2], &options, &result, &err);

    fputc('\n', stderr);
    if (status != ELM_OK)
        return fprintf(stderr, "convert: %s\n", err.message), elm_status_exit_code(status);
    printf("%s: %s, %.1f M parameters, %.1f MB\n", argv[2], result.architecture,
           (double)result.n_parameters / 1e6, (double)result.file_bytes / 1e6);
    return 0;
}
