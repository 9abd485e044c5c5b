#!/usr/bin/env bash
# The environment of the benchmarks: install.sh VENV [PYTHON]
#
# The Python packages of the image, as its lock pins them, and beside them the peers of
# requirements/benchmarks.txt. Needs Python 3.11, which the image has.
set -euo pipefail
venv=${1:?usage: install.sh VENV [PYTHON]}
python=${2:-python3}
lock=container/locks/cpu.json
peers=requirements/benchmarks.txt

wanted=$(cat "$lock" "$peers" | sha256sum)
if [ "$(cat "$venv/.installed" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    printf 'bundle: the benchmarks need Python 3.11, %s is another\n' "$python" >&2
    printf -- '-> name one: make bench PYTHON=python3.11\n' >&2
    exit 2
}
rm -rf "$venv"
"$python" -m venv "$venv"
"$python" - "$lock" >"$venv/image.txt" <<'END'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as stream:
    for file in json.load(stream)["python"]["files"]:
        print(f"{file['name']}=={file['version']} --hash=sha256:{file['sha256']}")
END
install() { "$venv/bin/python" -m pip -q install --disable-pip-version-check --no-deps --require-hashes "$@"; }
printf 'installing the Python packages of the image, and PyTorch (200 MB)\n'
install -r "$peers"
grep '^setuptools==' "$venv/image.txt" >"$venv/first.txt"
install -r "$venv/first.txt"
# Chainer is a source package: built with the setuptools above, as in the image.
install --no-build-isolation -r "$venv/image.txt"
printf '%s\n' "$wanted" >"$venv/.installed"
