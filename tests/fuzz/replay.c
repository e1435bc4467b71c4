/* replay.c - runs a fuzz target over its committed corpus, with any compiler: every seed is a regression test.
 * A target ends the program itself when it finds something. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_PATH_BYTES = 1024, MAX_SEED_BYTES = 1 << 20 };

static void die(const char *what, const char *path) {
    fprintf(stderr, "replay: %s '%s'\n", what, path);
    exit(1);
}

static void replay(const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t *whole = malloc(MAX_SEED_BYTES), *exact;
    if (!file || !whole) die("cannot open", path);
    size_t size = fread(whole, 1, MAX_SEED_BYTES, file);
    if (size == MAX_SEED_BYTES) die("too large:", path);
    fclose(file);
    /* In a block of exactly its size, so that a sanitizer sees a read past the end. */
    exact = malloc(size ? size : 1);
    if (!exact) die("no memory for", path);
    memcpy(exact, whole, size);
    free(whole);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(void) {
    char path[MAX_PATH_BYTES];
    unsigned n = 0;
    DIR *folder = opendir(CORPUS);
    if (!folder) die("cannot open", CORPUS);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        int length = snprintf(path, sizeof path, "%s/%s", CORPUS, entry->d_name);
        if (length < 0 || (size_t)length >= sizeof path) die("path too long:", entry->d_name);
        replay(path);
        n++;
    }
    closedir(folder);
    if (n == 0) die("no seeds in", CORPUS);
    printf("ok 1 - %u seeds\n", n);
    return 0;
}
