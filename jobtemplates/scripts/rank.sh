# Starts one rank on its node. TRIED PROGRAM FLAG IMAGE RUN VERSION, then what follows `exec FLAG`.
# TRIED is empty where FLAG is to be tried before, against the other ways to start a container.
# VERSION is that of failure.json.
tried=$1 program=$2 flag=$3 image=$4 run=$5 version=$6
shift 6
node=$(uname -n)
json() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    printf '"%s"' "${text//[[:cntrl:]]/ }"
}
fail() { # MESSAGE NEXT-STEP: failure.json of the first rank that fails, whole or not at all
    local rank=${OMPI_COMM_WORLD_RANK:-0} part="$run/.failure.$node.$$"
    printf '{"version": %s, "kind": "failure", "rank": %d, "message": %s, "next_step": %s}\n' \
        "$(json "$version")" "$rank" "$(json "$1")" "$(json "$2")" 2>/dev/null >"$part"
    if ln "$part" "$run/failure.json" 2>/dev/null || [ ! -f "$run/failure.json" ]; then
        printf 'bundle: %s\n-> %s\n' "$1" "$2" >&2
    fi
    rm -f "$part"
    exit 2
}
for name in APPTAINER_TMPDIR SINGULARITY_TMPDIR; do # where an image may be unpacked
    problem=$([ -z "${!name:-}" ] || scratch_problem "${!name}" 64)
    if [ -n "$problem" ]; then
        printf 'bundle: warning: %s: %s=%s %s: it is not used\n' "$node" "$name" "${!name}" \
            "$problem" >&2
        unset "$name"
    fi
done
found=
for name in "$program" apptainer singularity; do
    if command -v -- "$name" >/dev/null; then
        found=$name
        break
    fi
done
[ -n "$found" ] || fail "$node: there is no container program: neither $program nor apptainer or \
singularity on PATH" "install one on the nodes, or name it in the site profile (container: PATH)"
[ "$found" = "$program" ] || tried=
if [ -z "$tried" ]; then
    words=
    started=
    for way in "$flag" "" --userns --unsquash; do
        if words=$("$found" --quiet exec ${way:+"$way"} "$image" true 2>&1 </dev/null); then
            started=1
            break
        fi
    done
    words=${words##*$'\n'}
    [ -n "$started" ] || fail "$node: $found cannot start the image $image: $words" \
        "see: python bundle.py doctor; on the nodes: $found exec $image true"
    if [ "${OMPI_COMM_WORLD_LOCAL_RANK:-0}" = 0 ] && [ "$found$way" != "$program$flag" ]; then
        printf 'bundle: warning: %s: the image is started by: %s exec %s\n' "$node" "$found" \
            "$way" >&2
    fi
    flag=$way
fi
use_scratch 64 || fail "$node: there is no folder for temporary files: $refused" \
    "make room in the folder that TMPDIR names there (else /tmp), or let it name another (in the site profile: scratch)"
mounts=()
if [ -n "${TMPDIR:-}" ]; then
    # Short inside, however long here: sockets lie in it (unix(7): 108 bytes). At its own place too,
    # because the host's MPI tells its ranks of files there; /tmp is there anyway.
    quoted=${TMPDIR//\"/\"\"}
    mounts=(--mount "type=bind,\"source=$quoted\",destination=/bundle/scratch")
    case $TMPDIR in
    /tmp | /tmp/* | /var/tmp | /var/tmp/*) ;;
    *) mounts+=(--mount "type=bind,\"source=$quoted\",\"destination=$quoted\"") ;;
    esac
    mounts+=(--env TMPDIR=/bundle/scratch)
    export BUNDLE_TMPDIR=$TMPDIR
fi
exec "$found" --quiet exec ${flag:+"$flag"} "${mounts[@]}" "$@"
