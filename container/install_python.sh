#!/usr/bin/env bash
# The project's own environment: install_python.sh VENV REQUIREMENTS [PYTHON]
#
# The stamp holds the hash of the requirements and the environment's path: nothing to do takes
# milliseconds, a changed lock or a moved checkout installs again, and the environment carries the
# stamp only once it is complete.
set -euo pipefail
venv=${1:?usage: install_python.sh VENV REQUIREMENTS [PYTHON]}
requirements=${2:?usage: install_python.sh VENV REQUIREMENTS [PYTHON]}
python=${3:-python3}

stamp=$venv/.installed
path=$(pwd)/$venv
wanted="$path $(sha256sum <"$requirements" | cut -d' ' -f1)"
if [ -x "$venv/bin/python" ] && [ -r "$stamp" ] && grep -qxF "$wanted" "$stamp" &&
    "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
# An environment that was made for another path is of no use to this one.
if [ -e "$venv" ] && ! grep -q "^$path " "$stamp" 2>/dev/null; then rm -rf "$venv"; fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || {
    printf 'bundle: %s is %s, and bundle needs Python >= 3.9\n' "$python" "$("$python" --version 2>&1)" >&2
    printf -- '-> make PYTHON=/path/to/a/newer/python …\n' >&2
    exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
printf 'installing Python packages pinned in %s\n' "$requirements"
"$venv/bin/python" -m pip -q install --disable-pip-version-check --require-hashes -r "$requirements"
printf '%s\n' "$wanted" >>"$stamp"
