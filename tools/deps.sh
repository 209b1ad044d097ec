#!/usr/bin/env bash
# Installs what Strongroom needs from Debian's packages (build), and what its tests and benchmarks need
# besides (test: Python and JavaScript packages into build/, nothing outside the project but Debian packages).
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD="build-essential pkg-config libmicrohttpd-dev libgnutls28-dev librocksdb-dev libssl-dev libjansson-dev libexpat1-dev
libcurl4-openssl-dev libyaml-dev libseccomp-dev ca-certificates"
TEST="libcmocka-dev clang clang-tidy clang-format libclang-rt-14-dev python3 python3-venv strace openssl curl rclone
nginx-light fio wrk xz-utils openssh-client"

apt_install() {
    local missing=()
    for p in "$@"; do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p"); done
    [ ${#missing[@]} -eq 0 ] && return 0
    local sudo=
    if [ "$(id -u)" -ne 0 ]; then sudo=sudo; echo "deps: installing ${missing[*]} (asks for your password)"; fi
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

case "${1:-build}" in
build) apt_install $BUILD ;;
test)
    apt_install $BUILD $TEST
    tests/clients/deps.sh
    tests/verifiers/deps.sh
    ;;
*) echo "usage: tools/deps.sh build|test" >&2; exit 2 ;;
esac
