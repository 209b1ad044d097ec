#!/usr/bin/env bash
# Installs the clients that judge the server into build/test-env: Python packages, the az command line, and
# from npm the JavaScript SDK, azcopy, Azurite (the bench compares with it) and the Node.js that they want
# (Debian 12's is only used to fetch them). Quick when nothing has changed: each part has a stamp.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/clients
env=build/test-env
mkdir -p "$env"

missing=()
for p in libsecret-1-0 python3-venv; do # libsecret: azcopy is linked against it
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
node_major() { node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/'; }
if ! command -v npm >/dev/null || [ "$(node_major)" -lt 18 ]; then missing+=(nodejs npm); fi
if [ ${#missing[@]} -gt 0 ]; then
    sudo=
    if [ "$(id -u)" -ne 0 ]; then sudo=sudo; fi
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# fresh STAMP FILE...: true when FILEs are those that STAMP was written for.
sum() { cat "$@" | sha256sum | cut -d' ' -f1; }
fresh() { [ -e "$1" ] && [ "$(cat "$1")" = "$(sum "${@:2}")" ]; }

python_env() { # NAME REQUIREMENTS
    fresh "$env/$1.stamp" "$2" && return 0
    echo "deps: Python packages of $2"
    rm -rf "${env:?}/$1"
    /usr/bin/python3 -m venv "$env/$1"
    "$env/$1/bin/pip" install --quiet --disable-pip-version-check --use-pep517 -r "$2"
    sum "$2" >"$env/$1.stamp"
}
python_env python $here/requirements.txt
python_env az $here/requirements-az.txt

if ! fresh "$env/node.stamp" $here/package.json $here/package-lock.json; then
    echo "deps: JavaScript packages of $here/package.json"
    rm -rf "$env/node"
    mkdir -p "$env/node"
    cp $here/package.json $here/package-lock.json "$env/node/"
    (cd "$env/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    chmod +x "$env"/node/node_modules/@azure-tools/azcopy-linux/dist/bin/* "$env"/node/node_modules/node-linux-*/bin/node
    sum $here/package.json $here/package-lock.json >"$env/node.stamp"
fi

# One folder of commands, whatever package they came in.
mkdir -p "$env/bin"
link() { ln -sfn "$(realpath "$1")" "$env/bin/$2"; }
link "$(echo "$env"/node/node_modules/node-linux-*/bin/node)" node
link "$(echo "$env"/node/node_modules/@azure-tools/azcopy-linux/dist/bin/azcopy_linux_*)" azcopy
ln -sfn "$PWD/$env/az/bin/az" "$env/bin/az" # a script that finds its Python beside itself
