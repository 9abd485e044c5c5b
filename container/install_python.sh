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

# shellcheck source=container/quietly.sh
. "$(dirname "$0")/quietly.sh"

stamp=$venv/.installed
path=$(pwd)/$venv
line_of() { printf '%s %s\n' "$path" "$(sha256sum <"$1" | cut -d' ' -f1)"; }
wanted=$(line_of "$requirements")
if [ -x "$venv/bin/python" ] && [ -r "$stamp" ] && grep -qxF "$wanted" "$stamp" &&
    "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
# An environment that was made for another path is of no use to this one.
if [ -e "$venv" ] && ! grep -q "^$path " "$stamp" 2>/dev/null; then rm -rf "$venv"; fi
# From here to the end the environment is not complete, whatever it was before.
rm -f "$stamp"
log=$venv/install.log
mkdir -p "$venv"
: >"$log"
printf 'installing Python packages pinned in %s (log: %s)\n' "$requirements" "$log"
[ -x "$venv/bin/python" ] || quietly "$log" "$python" -m venv "$venv"
quietly "$log" "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    --require-hashes -r "$requirements"
# The development environment holds the host's packages too.
{
    printf '%s\n' "$wanted"
    case $requirements in */dev.txt) line_of "${requirements%dev.txt}host.txt" ;; esac
} >"$stamp"
