#!/usr/bin/env bash
# The environment of the benchmarks: install.sh VENV [PYTHON [STACK]]
#
# The Python packages of the image of STACK (cpu), as its lock pins them, simplejpeg, which makes packed
# data, and for cpu beside them the peers of requirements/benchmarks.txt. Needs Python 3.11, which the
# image has.
set -euo pipefail
venv=${1:?usage: install.sh VENV [PYTHON [STACK]]}
python=${2:-python3}
stack=${3:-cpu}
lock=container/locks/$stack.json
peers=/dev/null
if [ "$stack" = cpu ]; then peers=requirements/benchmarks.txt; fi

wanted=$(cat "$0" "$lock" "$peers" | sha256sum)
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
if [ "$stack" = cpu ]; then
    printf 'installing the Python packages of the image, and PyTorch (200 MB)\n'
    install -r "$peers"
else
    printf 'installing the Python packages of the image of stack %s (1.5 GB)\n' "$stack"
    grep '^wheel==' "$venv/image.txt" >"$venv/wheel.txt"
    install -r "$venv/wheel.txt"
fi
grep '^setuptools==' "$venv/image.txt" >"$venv/first.txt"
install -r "$venv/first.txt"
# Chainer is a source package: built with the setuptools above, as in the image.
install --no-build-isolation -r "$venv/image.txt"
awk '/^[a-z]/ { wanted = /^simplejpeg==/ } wanted && !/#/' requirements/host.txt >"$venv/host.txt"
install -r "$venv/host.txt"
# Where the libraries of the wheels and the headers that NVRTC reads are; in the image ldconfig and the
# definition file say so.
cat >"$venv/cuda.sh" <<'END'
packages=$(ls -d "$(dirname "${BASH_SOURCE[0]}")"/lib/python3*/site-packages/nvidia)
CUDA_PATH=$packages/cuda_runtime
LD_LIBRARY_PATH=$(printf '%s:' "$packages"/*/lib)
export CUDA_PATH LD_LIBRARY_PATH
END
printf '%s\n' "$wanted" >"$venv/.installed"
