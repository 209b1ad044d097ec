#!/usr/bin/env bash
# Builds the independent verifiers of the published record: a program of Go libraries, a witness, a Python environment. Quick
# when nothing has changed. Go comes from where there is one that is new enough, else Debian's fetches it as a Go module.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/verifiers
env=build/test-env
mkdir -p "$env/bin"

sum() { cat "$@" | sha256sum | cut -d' ' -f1; }
fresh() { [ -e "$1" ] && [ "$(cat "$1")" = "$(sum "${@:2}")" ]; }

want=$(sed -n 's/^go \([0-9.]*\)$/\1/p' $here/go.mod)
new_enough() { # GO
    local has
    has=$("$1" env GOVERSION 2>/dev/null | sed 's/^go//')
    [ -n "$has" ] && [ "$(printf '%s\n%s\n' "$want" "$has" | sort -V | head -1)" = "$want" ]
}
find_go() {
    local go
    go=$(command -v go || echo /usr/lib/go/bin/go)
    if new_enough "$go"; then echo "$go"; return; fi
    if ! [ -x "$go" ]; then
        local sudo=
        if [ "$(id -u)" -ne 0 ]; then sudo=sudo; fi
        $sudo apt-get update -qq >&2
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go >/dev/null
        go=$(command -v go)
    fi
    local scratch dir
    scratch=$(mktemp -d)
    (cd "$scratch" && echo "module fetch" >go.mod)
    dir=$(cd "$scratch" && GOFLAGS=-mod=mod "$go" mod download -json "golang.org/toolchain@v0.0.1-go$want.linux-amd64" |
        sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    rm -rf "$scratch"
    cp -r "$dir" "$env/go" && chmod -R u+w "$env/go" && chmod +x "$env"/go/bin/* "$env"/go/pkg/tool/*/* 2>/dev/null
    echo "$PWD/$env/go/bin/go"
}

if ! fresh "$env/verifiers-go.stamp" $here/go.mod $here/go.sum $here/main.go; then
    echo "deps: Go libraries of $here/go.mod"
    go=$(find_go)
    (cd $here && "$go" build -o "../../$env/bin/verifiers" . &&
        "$go" build -o "../../$env/bin/litewitness" filippo.io/torchwood/cmd/litewitness)
    sum $here/go.mod $here/go.sum $here/main.go >"$env/verifiers-go.stamp"
fi
if ! fresh "$env/verifiers.stamp" $here/requirements.txt; then
    echo "deps: Python packages of $here/requirements.txt"
    rm -rf "${env:?}/verifiers"
    /usr/bin/python3 -m venv "$env/verifiers"
    "$env/verifiers/bin/pip" install --quiet --disable-pip-version-check -r $here/requirements.txt
    sum $here/requirements.txt >"$env/verifiers.stamp"
fi
