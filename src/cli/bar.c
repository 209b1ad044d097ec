/* Progress on a terminal: one line of standard error, drawn over and over. */
#include <unistd.h>

#include "cli/cli.h"

#define WIDTH     30
#define PERIOD_US 100000

void cli_bar_start(cli_bar *b) {
    *b = (cli_bar){.on = isatty(STDERR_FILENO), .started_us = clock_mono_us()};
}

bool cli_bar_due(cli_bar *b) {
    const int64_t now = clock_mono_us();
    if (!b->on || now - b->drawn_us < PERIOD_US) return false;
    b->drawn_us = now;
    b->drawn = true;
    fputs("\r", stderr);
    return true;
}

void cli_bar_part(double part) {
    const int full = (int)(part * WIDTH);
    fprintf(stderr, "[%.*s%*s] %2.0f%%  ", full, "##############################", WIDTH - full, "",
            part * 100);
}

void cli_bar_clear(cli_bar *b) {
    if (b->drawn) fputs("\r\033[K", stderr);
    b->drawn = false;
}

double cli_bar_seconds(const cli_bar *b) {
    return (double)(clock_mono_us() - b->started_us) / 1e6;
}

double cli_bar_rate(const cli_bar *b, double done) {
    const double seconds = cli_bar_seconds(b);
    return seconds > 0 ? done / seconds : 0.0;
}

void cli_bar_damaged(cli_bar *b, const char *what, const char *where) {
    cli_bar_clear(b);
    fputs("damaged: ", stdout);
    cli_print(stdout, slice_str(what));
    fputs(": ", stdout);
    cli_print(stdout, slice_str(where));
    fputs("\n", stdout);
    (void)fflush(stdout);
}
