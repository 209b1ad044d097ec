/* Runs a fuzz target over the files named, where libFuzzer is not at hand. */
#include "fuzz.h"

#define INPUT_MAX ((size_t)4 << 20)

int main(int argc, char **argv) {
    uint8_t *text = malloc(INPUT_MAX);
    MUST(text != NULL);
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (f == NULL) {
            perror(argv[i]);
            return 1;
        }
        size_t n = fread(text, 1, INPUT_MAX, f);
        fclose(f);
        /* Its own allocation of its own length: a sanitizer sees the first byte past it. */
        uint8_t *input = malloc(n > 0 ? n : 1);
        MUST(input != NULL);
        memcpy(input, text, n);
        LLVMFuzzerTestOneInput(input, n);
        free(input);
    }
    free(text);
    return 0;
}
