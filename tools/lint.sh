#!/usr/bin/env bash
# Static checks: clang-format, clang-tidy (.clang-tidy says which and why), gcc -fanalyzer.
set -euo pipefail
cd "$(dirname "$0")/.."
flags="-std=gnu17 -D_GNU_SOURCE -Isrc"
status=0

mapfile -t sources < <(find src -name '*.c' | LC_ALL=C sort)
echo "format: $(clang-format --version | grep -o 'version [0-9.]*')"
clang-format --dry-run --Werror $(find src tests bench -name '*.[ch]') || status=1
# One file a run: clang-tidy 14 reports false va_list errors in the second file of a run.
echo "clang-tidy: ${#sources[@]} files"
printf '%s\0' "${sources[@]}" | xargs -0 -P "$(nproc)" -I{} clang-tidy --quiet --warnings-as-errors='*' {} -- $flags 2>/dev/null ||
    { echo "clang-tidy found something; run: clang-tidy FILE -- $flags" >&2; status=1; }
echo "gcc -fanalyzer: ${#sources[@]} files"
printf '%s\0' "${sources[@]}" |
    xargs -0 -P "$(nproc)" -I{} gcc $flags -O1 -Wall -Wextra -Wno-missing-field-initializers -Werror -fanalyzer -c -o /dev/null {} || status=1
exit $status
