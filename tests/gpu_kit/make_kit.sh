#!/usr/bin/env bash
# The contents of the image cuda12, small enough to travel to a machine with a Hopper GPU.
#
#   make_kit.sh OUTDIR      OUTDIR/1, OUTDIR/2, ...: the folders to send, one a command
#
# After `make dev`, from anywhere. Steps that are done are not done again; remove OUTDIR/work/NAME.done to do
# one again; the project itself is taken anew each time. LEVEL (19) is zstd's, ARCH (90) the architecture,
# SENT (62) the MiB that may travel at a time: a folder and the project's own files. Needs Python 3.11,
# mpirun, unsquashfs, zstd, liblz4.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
out=${1:?usage: make_kit.sh OUTDIR}
level=${LEVEL:-19} sent=${SENT:-62} arch=${ARCH:-90}
mkdir -p "$out/work"
out=$(cd "$out" && pwd)
work=$out/work
python=$project/.venv/bin/python
packages=usr/local/lib/python3.11/dist-packages
begun=$SECONDS

say() { printf 'make_kit %4d s: %s\n' "$((SECONDS - begun))" "$*"; }
step() { # NAME COMMAND...: once
    if [ -e "$work/$1.done" ]; then
        say "$1: done before"
        return
    fi
    say "$1"
    "${@:2}"
    : >"$work/$1.done"
}
mib() { printf '%d MiB' "$((($(stat -c %s "$1") + 1048575) / 1048576))"; }

image() {
    (cd "$project" && "$python" bundle.py build --json >"$work/cuda12.json")
}

original() {
    local sif offset
    sif=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["path"])' "$work/cuda12.json")
    # The squashfs in the SIF file begins at a page, and its magic is "hsqs".
    offset=$("$python" -c 'import sys
with open(sys.argv[1], "rb") as f:
    head = f.read(1 << 22)
print(next(k for k in range(0, len(head), 4096) if head[k : k + 4] == b"hsqs"))' "$sif")
    rm -rf "$work/original"
    unsquashfs -q -n -o "$offset" -d "$work/original" "$sif" >/dev/null
}

slimmed() {
    local root=$work/tree/root
    rm -rf "$root"
    mkdir -p "$work/tree"
    cp -a "$work/original" "$root"
    # Not imported, or asked for by none of the five networks; ICU only by a plugin of hwloc.
    rm -rf "$root/$packages"/nvidia/cudnn/lib/libcudnn_adv* "$root/$packages"/nvidia/cublas/lib/libnvblas* \
        "$root"/usr/lib/x86_64-linux-gnu/{libicu*,libxml2*,gconv,hwloc/hwloc_xml_libxml.so} "$root"/usr/share/doc
    rm -rf "$work/tree/code".*
    "$python" "$here/fatbin.py" slim "$root" "$arch" "$work/tree/code"
    mv "$work/tree/code.raw" "$work/code.raw"
}

host_tools() { # what a login node would have: packers as the lock pins them
    local name
    rm -rf "$work/tree/host"
    mkdir -p "$work/tree/host"
    (cd "$project" && "$python" - "$work/tree/host/tools" <<'END'
import os, sys
from pathlib import Path

from container.cache import Cache, cache_root
from container.recipe import load_recipe
from container.squashfs import unpack_tools
from container.store import Store

files = load_recipe(Path(), "cuda12").lock.files_for("tools")
store = Store(Cache(cache_root(os.environ)).store)
tools = Path(sys.argv[1])
tools.mkdir()
unpack_tools([store.path(file.sha256) for file in files], tools)
END
    )
    rm -rf "$work/tree/host/tools"/usr/{share,sbin} "$work/tree/host/tools"/{usr/,}lib/x86_64-linux-gnu/{gconv,audit}
    if name=$(command -v squashfuse_ll); then
        cp -L "$name" "$work/tree/host/tools/usr/bin/"
        cp -L "$(ldd "$name" | grep -o '/[^ ]*libfuse3.so.3')" "$work/tree/host/tools/usr/lib/x86_64-linux-gnu/"
    fi
}

checked() { # as it will be restored there, held against the original
    rm -rf "$work/restored"
    mkdir "$work/restored"
    cp -a "$work/tree/root" "$work/restored/root"
    cp "$work/tree/code.json" "$work/restored/"
    ln "$work/code.raw" "$work/restored/code.raw"
    "$python" "$here/fatbin.py" restore "$work/restored/root" "$work/restored/code" liblz4.so.1
    "$python" "$here/fatbin.py" verify "$work/original" "$work/restored/root" "$arch"
    (cd "$work/restored" && find root -type f \( -path '*/nvidia/*' -o -path '*/cupy/*' \) -name '*.so*' -size +1M \
        -print0 | sort -z | xargs -0 sha256sum) >"$work/libraries.sha256"
    # The SIF file that will be made there, made here.
    rm -rf "$work/sif" "$work/sif_objects.json"
    (cd "$project" && "$python" -m tests.gpu_kit.slim_sif "$work/restored/root" "$work/tree/host/tools" \
        "$work/sif_objects.json" "$work/sif" >"$work/sif.sha256")
    rm -rf "$work/sif"
}

project_tree() {
    local name
    rm -rf "$work"/tree/{project,pytest,apptainer,data,host/site}
    mkdir -p "$work/tree/project" "$work/tree/pytest"
    (cd "$project" && git ls-files -z | xargs -0 cp --parents -t "$work/tree/project")
    project_bytes=$(du -sb --apparent-size "$work/tree/project" | cut -f1)
    (cd "$project" && "$python" -m tests.gpu_kit.host_site "$work/tree/host/site")
    for name in pytest _pytest pluggy iniconfig packaging pygments py yaml; do
        cp -r "$("$python" -c "import $name; print(getattr($name, '__path__', [$name.__file__])[0])")" \
            "$work/tree/pytest/"
    done
    # pytest asks what version pluggy has.
    cp -r "$project"/.venv/lib/python3*/site-packages/{pytest,pluggy}-*.dist-info "$work/tree/pytest/"
    # The image has Open MPI's libraries and leaves mpirun to the host; that of this host goes along.
    for name in orterun orted; do
        cp -L "$(command -v "$name")" "$work/tree/root/usr/bin/"
    done
    ln -sf orterun "$work/tree/root/usr/bin/mpirun"
    find "$work/tree" -name __pycache__ -path '*/pytest/*' -prune -exec rm -rf {} +
    cp -a "$project/.tools/apptainer" "$work/tree/"
    rm -rf "$work/data"
    "$python" "$project/bundle.py" data digits "$work/data" >/dev/null
    cp -r "$work/data" "$work/tree/data"
    printf '{"apptainer": "%s"}\n' "$project/.tools/apptainer" >"$work/meta.json"
}

packed_code() { nice -n 10 zstd -q -f "-$level" --long=27 -T0 "$work/code.raw" -o "$work/code.zst"; }

packed_tree() {
    tar -C "$work/tree" --sort=name --owner=0 --group=0 --numeric-owner -cf - . |
        nice -n 10 zstd -q -f "-$level" --long=27 -T0 -o "$work/tree.zst"
}

pieces() {
    local boot=$work/boot number=0 one library own piece
    rm -rf "$boot" "$work"/piece.* "$out"/[0-9]*
    mkdir -p "$boot/lib"
    cp "$(command -v zstd)" "$boot/"
    for library in liblz4.so.1 liblzma.so.5 libz.so.1 libc.so.6 ld-linux-x86-64.so.2; do
        cp -L "$(ldd "$boot/zstd" | grep -o "/[^ ]*$library")" "$boot/lib/$library"
    done
    cp "$here/fatbin.py" "$boot/"
    cp "$work"/{meta.json,libraries.sha256,sif.sha256,sif_objects.json} "$boot/"
    stat -c %s "$work/tree.zst" >"$boot/first_size"
    own=$(((project_bytes + 1048575) / 1048576))
    piece=$((sent - own - $(du -sm "$boot" | cut -f1) - 1))
    (cd "$work" && cat tree.zst code.zst | split -b "${piece}M" -d -a 2 - piece. && sha256sum piece.* >"$boot/pieces.sha256")
    for one in "$work"/piece.*; do
        number=$((number + 1))
        mkdir -p "$out/$number"
        mv "$one" "$out/$number/"
        cp "$here/on_gpu.sh" "$out/$number/"
    done
    cp -r "$boot" "$out/$number/" # the last piece is the smallest
    say "tree $(mib "$work/tree.zst"), code $(mib "$work/code.zst"): $number folders to send"
    say "each is sent with the project's own $own MiB"
    du -sm "$out"/[0-9]* | sed 's/^/MiB /'
}

step image image
step original original
step slimmed slimmed
step host_tools host_tools
step checked checked
say project_tree
project_tree
step packed_code packed_code
say packed_tree
packed_tree
say pieces
pieces
