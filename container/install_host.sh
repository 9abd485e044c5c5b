#!/usr/bin/env bash
# Make this machine ready for bundle: look first, touch afterwards.
#
#   install_host.sh PROJECT [PYTHON]
#
# Needed on the host: git, a Python >= 3.9 that can make virtual environments, Open MPI's mpirun,
# and Singularity or Apptainer. What is there is used. What is missing is installed with apt on
# Debian as root; an Apptainer that Debian 12 does not carry goes into PROJECT/.tools. Where this
# is impossible the script lists what an administrator must install and changes nothing.
set -euo pipefail
project=$(cd "${1:?usage: install_host.sh PROJECT [PYTHON]}" && pwd)
python=${2:-python3}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=container/quietly.sh
. "$here/quietly.sh"

have() { command -v "$1" >/dev/null 2>&1; }

python_is_usable() {
    have "$python" && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null
}

mpi_is_usable() { mpirun --version 2>/dev/null | grep -Eq '\(Open MPI\) ([4-9]|[1-9][0-9])\.'; }

# Debian has a game that is called singularity too: what counts is what the program answers.
private=$project/.tools/apptainer/usr/bin/apptainer
container_is_usable() {
    local program
    for program in apptainer singularity "$private"; do
        if "$program" --version 2>/dev/null | grep -Eq '^(apptainer|singularity(-ce|-pro)?) version '; then
            return 0
        fi
    done
    return 1
}

# shellcheck source=/dev/null
is_debian() {
    [ -r /etc/os-release ] && . /etc/os-release &&
        [[ " ${ID:-} ${ID_LIKE:-} " == *" debian "* ]] && have apt-get
}

refuse() { # PROBLEM NEXT-STEP
    printf 'bundle: %s\n-> %s\n' "$1" "$2" >&2
    exit 2
}

# --- look -------------------------------------------------------------------------------------

packages=()   # Debian's names
wishes=()     # the same in words, for an administrator of any system
need() {
    local names
    read -ra names <<<"$1"
    packages+=("${names[@]}")
    wishes+=("$2")
}

if [ "${project##*/}" = code ] && [ -f "$project/../manifest.json" ] && [ -f "$project/../inputs/train.tsv" ]; then
    refuse "$project is the snapshot of a run, and must stay as it is" \
        "copy it: cp -r '${project//\'/\'\\\'\'}' ~/bundle && make -C ~/bundle setup"
fi
[ -w "$project" ] || refuse "$project cannot be written by this account" \
    "work in a clone of your own: git clone $project"
if [ "$python" != python3 ] && ! python_is_usable; then
    refuse "$python is not Python 3.9 or newer with its venv module" \
        "name another one: make PYTHON=/path/to/python3 …"
fi
if have mpirun && ! mpi_is_usable; then
    refuse "mpirun on PATH is not Open MPI 4.0 or newer: $(mpirun --version 2>&1 | head -n 1)" \
        "put one first on PATH (for instance: module load openmpi), then run this again"
fi
have git || need git "git"
python_is_usable || need "python3 python3-venv" "Python 3.9 or newer with its venv module"
have mpirun || need openmpi-bin "Open MPI 4.0 or newer (its mpirun on PATH)"

relocate=no
if ! container_is_usable; then
    # What a private Apptainer needs beside itself: squashfuse mounts the image for a user who is
    # not root, newuidmap serves --fakeroot.
    have squashfuse || have squashfuse_ll || need squashfuse "squashfuse"
    have mksquashfs || need squashfs-tools "squashfs-tools"
    have newuidmap || need uidmap "newuidmap and newgidmap (package uidmap or shadow-utils)"
    if is_debian && [ "$(dpkg --print-architecture)" = amd64 ]; then
        relocate=yes
        bash "$here/install_apptainer.sh" --check
    else
        wishes+=("Apptainer 1.2 or newer, or SingularityCE 3.10 or newer")
    fi
fi

# --- refuse, or touch -------------------------------------------------------------------------

if [ ${#wishes[@]} -gt 0 ] && { ! is_debian || [ "$(id -u)" != 0 ]; }; then
    printf 'bundle: this machine lacks what bundle needs, and this account cannot install it.\n' >&2
    printf 'Ask an administrator to install:\n' >&2
    printf '  - %s\n' "${wishes[@]}" >&2
    if is_debian && [ ${#packages[@]} -gt 0 ]; then
        printf 'On this Debian system that is: apt-get install %s\n' "${packages[*]}" >&2
    fi
    printf -- '-> then run the same command again; nothing was changed\n' >&2
    exit 2
fi

if [ ${#packages[@]} -gt 0 ]; then
    log=$project/.tools/install.log
    mkdir -p "${log%/*}"
    printf 'installing with apt: %s (log: %s)\n' "${packages[*]}" "$log"
    export DEBIAN_FRONTEND=noninteractive
    quietly "$log" apt-get -q update
    quietly "$log" apt-get -q install -y --no-install-recommends "${packages[@]}"
fi
if [ "$relocate" = yes ]; then
    bash "$here/install_apptainer.sh" "$project/.tools/apptainer"
fi
