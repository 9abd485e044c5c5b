#!/bin/bash
#$ -S /bin/bash
#$ -cwd
#$ -V
#$ -N digits
#$ -o logs/scheduler.log
#$ -j y
#$ -r n
#$ -notify
#$ -l h_rt=01:00:00
#$ -l gpu_1=2
# Run digits-20260102T030405Z-abcdef01, made by bundle 0.1.0. This is exactly what was submitted.
export JOB_ID

# Grid Engine and PBS start a login shell, whose profile may have set it.
set +e
child=
warned=
ended=
late=
# The scheduler's warning is for the ranks, which save and end. It waits until they are ready. Some
# schedulers send it to all processes of the job: what is started before the ranks must not die of it.
trap 'warned=1' USR2
# Grid Engine sends it before it suspends a job that asked for warnings: nothing is to be done.
trap '' USR1
trap 'ended=1; late=${late:-$((SECONDS + 20))}; [ -z "$child" ] || kill -TERM "$child"; [ -n "$child" ] || exit 143' TERM INT
unwarned() { (trap '' USR2 && "$@"); }
# Names are bytes, whatever the user's locale is and whether this node has it.
export LC_ALL=C

run=/out/digits-20260102T030405Z-abcdef01
image=/images/cpu.sif
image_sha256=1111111111111111111111111111111111111111111111111111111111111111
cd "$run" || exit 2

leave() { # STATUS: whole or not at all, so that a reader never sees half a number
    trap '' USR2
    rm -f ready
    printf '%s\n' "$1" >.exit_code.partial && mv .exit_code.partial exit_code
    exit "$1"
}
refuse() {
    printf 'bundle: %s\n-> %s\n' "$1" "$2" >&2
    leave 2
}
# Whether ranks that ended with STATUS were ended from outside: a node that died, a limit, a preemption,
# a signal to one of them or to mpirun, no memory left. A rank that fails says so: in failure.json, by an
# exit code of its own, of which mpirun tells, or by a signal that only its own fault sends (ILL, TRAP,
# ABRT, BUS, FPE, SEGV, SYS). What else is above 128 is another signal, or mpirun's word for what it lost;
# before the ranks were ready such words are about their start.
outside() { # STATUS
    if [ -f failure.json ]; then return 1; fi
    if [ -n "$ended" ]; then return 0; fi
    case $1 in
    132 | 133 | 134 | 135 | 136 | 139 | 159) return 1 ;;
    137 | 138 | 140 | 142 | 143 | 152) return 0 ;; # KILL, USR1, USR2, ALRM, TERM, XCPU
    esac
    if [ ! -f ready ]; then return 1; fi
    if [ "$1" -eq 0 ] || [ "$1" -gt 128 ]; then return 0; fi
    ! (trap '' USR2 && tail -c "+$((said + 1))" -- /out/digits-20260102T030405Z-abcdef01/logs/stderr.log |
        grep -q -i -E 'MPI_ABORT|exit code|non-zero status')
}
# The exit code in failure.json, else STATUS.
failed() { # STATUS
    trap '' USR2
    local code
    code=$(grep -o -E '"exit_code": *[0-9]+' failure.json) || code=$1
    printf '%s' "${code##*[!0-9]}"
}
# A follow-up job has nothing to do where the one before it finished the run, or failed.
if [ -f DONE ] && [ -f result.json ]; then exit 0; fi
if [ -f failure.json ]; then exit 0; fi
if [ -f exit_code ] && [ "$(<exit_code)" != 75 ]; then exit 0; fi
for log in /out/digits-20260102T030405Z-abcdef01/logs/stdout.log /out/digits-20260102T030405Z-abcdef01/logs/stderr.log; do
    unwarned mkdir -p -- "${log%/*}"
done
exec >>/out/digits-20260102T030405Z-abcdef01/logs/stdout.log 2>>/out/digits-20260102T030405Z-abcdef01/logs/stderr.log
unwarned rm -f DONE exit_code failure.json interrupted ready result.json stopped.json
# At this second (since 1970) the job will be ended; the trainer saves and ends before it.
printf -v deadline '%(%s)T' -1
deadline=$((deadline + 3600))

if ! type module >/dev/null 2>&1; then # a shell that is not a login shell
    for setup in "${MODULESHOME:-}/init/bash" /etc/profile.d/modules.sh /etc/profile.d/lmod.sh \
        /usr/share/modules/init/bash /usr/share/lmod/lmod/init/bash; do
        # shellcheck source=/dev/null
        if [ -r "$setup" ]; then . "$setup" && break; fi
    done
fi
type module >/dev/null 2>&1 || refuse "there is no module command on $(uname -n)" \
    'leave out the key modules, or name those of this site'
load() { # MODULE: once more where a warning ended what the module command had started
    module load "$1" || { [ -n "$warned" ] && module load "$1"; }
}
load openmpi/5.0.2-gcc || refuse 'module openmpi/5.0.2-gcc cannot be loaded' 'see: module avail'
# Libraries choose algorithms by these names: only what the manifest records may be set, by no module
# either.
for name in $(trap '' USR2 && compgen -e); do
    case $name in
    APPTAINER_TMPDIR | APPTAINER_CACHEDIR | SINGULARITY_TMPDIR | SINGULARITY_CACHEDIR | CUDA_VISIBLE_DEVICES | CUDA_DEVICE_ORDER | CUDA_MPS_PIPE_DIRECTORY | CUDA_MPS_LOG_DIRECTORY) ;;
    CHAINER* | CUPY_* | CUDNN_* | CUBLAS* | CUDA_* | NVRTC_* | NVIDIA_TF32* | NCCL_* | OPENBLAS_* | GOTO_* | OMP_* | MKL_* | BLIS_* | NPY_* | NUMEXPR_* | PYTHON* | LD_PRELOAD* | GLIBC_TUNABLES* | MALLOC_* | OMPI_MCA_coll* | SINGULARITY* | APPTAINER*) unset "$name" ;;
    esac
done

# Short of descriptors mpirun waits for ever for ranks that it could not start.
files=$(ulimit -S -n)
if [ "$files" != unlimited ] && [ "$files" -lt 82 ] && ! ulimit -S -n 82 2>/dev/null; then
    refuse "a process on $(uname -n) may open $(ulimit -H -n) files, mpirun needs 82" \
        'raise the limit of open files there (ulimit -n)'
fi

digest() {
    trap '' USR2
    sha256sum -- "$image" 2>/dev/null | cut -d ' ' -f 1
}
found=$(digest)
[ -z "$warned" ] || found=$(digest)
found=${found#\\} # sha256sum marks a file name that it had to escape
if [ "$found" != "$image_sha256" ]; then
    if [ -z "$found" ]; then
        refuse "the image $image cannot be read" 'build it again with: python bundle.py build --stack cuda12'
    fi
    refuse "the image $image was altered: sha256 expected $image_sha256, found $found" \
        'remove it and build it again with: python bundle.py build --stack cuda12'
fi
# How slots fall on hosts is decided by the scheduler's settings, and mpirun says only that there are
# not enough.
declare -A slots=()
hosts=()
while read -r host count _; do
    [ -n "${slots[$host]}" ] || hosts+=("$host")
    slots[$host]=$((${slots[$host]:-0} + ${count:-1}))
done <"${PE_HOSTFILE:-/dev/null}"
given=
few=
number=0
for host in "${hosts[@]}"; do
    number=$((number + 1))
    given="$given${given:+, }$host ${slots[$host]}"
    [ "${slots[$host]}" -ge 1 ] || few=1
done
wanted='2 hosts with 1 rank each'
if [ -n "$given" ] && { [ "$number" -lt 2 ] || [ -n "$few" ]; }; then
    refuse "the run wants $wanted, and Grid Engine gave it slots: $given" 'use a parallel environment whose allocation_rule is the number of ranks on a node (qconf -sp NAME shows it, qconf -spl lists them; site profile: parallel_environment)'
fi

launcher=mpirun
node=$(unwarned uname -n)
command -v "$launcher" >/dev/null || refuse "$node: there is no $launcher on PATH" \
    'load or install Open MPI 4.0 to 5.0 (for instance: module load openmpi; an administrator: apt-get install openmpi-bin) and see that its mpirun comes first on PATH'
# shellcheck disable=SC2054
mpirun=(mpirun \
    -np 2 \
    --map-by ppr:1:node:PE=8 \
    --mca btl self,vader,tcp \
    --mca btl_vader_single_copy_mechanism none \
    --mca coll_tuned_use_dynamic_rules 1 \
    --mca pml ob1)
version=
while IFS= read -r line; do # a site's wrapper may greet before it
    version=${version:-$line}
    case $line in *'(Open MPI)'* | *HYDRA* | *'Intel(R) MPI'*) version=$line && break ;; esac
done < <(unwarned "$launcher" --version 2>/dev/null)
case $version in
'' | *'(Open MPI) '4.*) ;;
*'(Open MPI) '5.0.*)
    # The image's ranks look for the daemon that Open MPI 4 would name; else each is alone.
    export OMPI_MCA_orte_local_daemon_uri='1.0;tcp://127.0.0.1:1'
    # shellcheck disable=SC2054
    mpirun=(mpirun \
    -np 2 \
    --map-by ppr:1:node:PE=8 \
    --mca btl self,vader,tcp \
    --mca btl_vader_single_copy_mechanism none \
    --mca coll_tuned_use_dynamic_rules 1 \
    --mca pml ob1)
    ;;
*)
    refuse "$node: $launcher is $version, and the image needs Open MPI 4.0 to 5.0" \
        'load or install Open MPI 4.0 to 5.0 (for instance: module load openmpi; an administrator: apt-get install openmpi-bin) and see that its mpirun comes first on PATH'
    ;;
esac

scratch_problem() { # FOLDER KB: why no file of that size can be made there; nothing where one can
    local LC_ALL=C probe
    case $1 in
    *[[:cntrl:]]*) printf 'has a line break in its name' && return ;;
    /bundle | /bundle/*) printf 'is a folder of the container' && return ;;
    /*) ;;
    *) printf 'is not an absolute path' && return ;;
    esac
    if [[ $1 == *[!\ -~]* ]]; then # the container program takes mounts as UTF-8 text
        printf %s "$1" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 ||
            { printf 'is not UTF-8' && return; }
    fi
    [ -d "$1" ] || { printf 'is not a folder' && return; }
    [ ! "$1" -ef / ] || { printf 'is the root of all files' && return; }
    probe=$(umask 077 && mktemp -d "$1/bundle.XXXXXX" 2>/dev/null) ||
        { printf 'cannot be written' && return; }
    head -c "$2K" /dev/zero 2>/dev/null >"$probe/room" || printf 'has no room for %s kB' "$2"
    rm -rf -- "$probe"
}
use_scratch() { # KB: TMPDIR is a folder of this node with that room; else 1, and refused says why
    local LC_ALL=C problem other kb=$1 shown=${TMPDIR:-/tmp}
    # Empty it is a path for Open MPI. Without it Open MPI and Python go on to these.
    unset TEMP TMP
    [ -n "${TMPDIR:-}" ] || unset TMPDIR
    problem=$(trap '' USR2 && scratch_problem "$shown" "$kb")
    [ -n "$problem" ] || return 0
    [ "$problem" != 'is not UTF-8' ] || shown=${shown//[!\ -~]/?}
    other=$(trap '' USR2 && scratch_problem /tmp "$kb")
    refused="/tmp $other"
    [ "$shown" = /tmp ] || refused="TMPDIR=$shown $problem, $refused"
    [ -z "$other" ] || return 1
    export BUNDLE_TMPDIR_WARNING="TMPDIR=$shown $problem: /tmp is used"
    printf 'bundle: warning: %s: %s\n' "$node" "$BUNDLE_TMPDIR_WARNING" >&2
    unset TMPDIR
}
# Without room for its files (8.2 MB, seen with one rank and two) Open MPI 4 ends without a word for
# it, or waits for ever for a rank that could not start.
use_scratch 10240 || refuse "$node: there is no folder for temporary files: $refused" \
    'make room in the folder that TMPDIR names there (else /tmp), or let it name another (in the site profile: scratch)'

IFS= read -r -d '' rank <<'END OF RANK'
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
END OF RANK
rank=$(trap '' USR2 && declare -f scratch_problem use_scratch)$'\n'$rank

tried=1
start() { # mpirun takes the place of the shell that calls this
    exec "${mpirun[@]}" \
    bash -c "$rank" rank "$tried" /usr/bin/apptainer '' "$image" "$run" 1.3 \
    --nv \
    --no-home \
    --pwd /bundle/code \
    --mount 'type=bind,"source=/out/digits-20260102T030405Z-abcdef01/code",destination=/bundle/code,ro' \
    --mount 'type=bind,"source=/out/digits-20260102T030405Z-abcdef01",destination=/bundle/run' \
    --mount 'type=bind,"source=/data/train",destination=/bundle/data/train,ro' \
    --mount 'type=bind,"source=/data/val",destination=/bundle/data/val,ro' \
    --env OPAL_PREFIX= \
    --env OPENBLAS_NUM_THREADS=1 \
    --env PMIX_INSTALL_PREFIX= \
    --env PYTHONDONTWRITEBYTECODE=1 \
    --env PYTHONNOUSERSITE=1 \
    --env PYTHONPATH= \
    --env "BUNDLE_DEADLINE=$deadline" \
    "$image" \
    python3 -m trainer
}
again=
said=$(unwarned stat -c %s -- /out/digits-20260102T030405Z-abcdef01/logs/stderr.log)
while :; do
    (trap '' USR2 && start) &
    child=$!
    while :; do
        if [ -n "$warned" ] && [ -f ready ]; then
            kill -USR2 "$child" 2>/dev/null
            warned=
        elif [ -n "$warned$ended" ]; then
            # Open MPI 4 that gets a signal while it ends may stay for ever, without ranks.
            if [ -n "$late" ] && [ "$SECONDS" -ge "$late" ]; then kill -KILL "$child" 2>/dev/null; fi
            sleep 0.2 &
            wait "$!"
            if kill -0 "$child" 2>/dev/null; then continue; fi
        fi
        wait "$child"
        status=$?
        if [ "$status" -le 128 ]; then break; fi
        # `wait` also returns when a trapped signal arrives; the ranks may go on after it.
        if kill -0 "$child" 2>/dev/null; then continue; fi
        # Where they ended at that very moment bash may have lost how, and says 127 or -1: what they left tells.
        wait "$child" 2>/dev/null
        told=$?
        if [ "$told" -ge 0 ] && [ "$told" -ne 127 ]; then
            status=$told
        elif [ -f stopped.json ] || [ -f result.json ]; then
            status=0
        elif [ -f failure.json ]; then
            status=$(failed "$status")
        fi
        break
    done
    # A warning that ended the ranks before they were ready: they begin anew, and get it when they are.
    if [ "$status" -ne 0 ] && [ -n "$warned" ] && [ -z "$ended$again" ] && [ ! -f ready ] &&
        [ ! -f failure.json ]; then
        again=1
        continue
    fi
    # The container program itself failed: 255 is its code. How it starts here is found out anew.
    if [ "$status" -eq 255 ] && [ -n "$tried" ] && [ -z "$ended" ] && [ ! -f ready ] &&
        [ ! -f failure.json ]; then
        tried=
        continue
    fi
    break
done

# Killed, or ended by an MPI that has no word for it: the log is not to be empty.
if [ "$status" -ne 0 ] && [ -z "$ended" ] && [ ! -f failure.json ] && [ ! -f stopped.json ] &&
    [ ! -f result.json ]; then
    printf 'bundle: the ranks ended with status %s, and none of them could say why\n-> %s\n' "$status" \
        'look at their nodes: memory (137 is a kill), room in /dev/shm and TMPDIR, ulimit -n' >&2
    # What keeps mpirun from starting any, --quiet has kept back: it is said where there is nothing to run.
    loud=()
    quiet=
    for word in "${mpirun[@]}"; do
        case $word in -q | -quiet | --quiet) quiet=1 ;; *) loud+=("$word") ;; esac
    done
    if [ -n "$quiet" ] && [ ! -f ready ]; then unwarned timeout 30 "${loud[@]}" true >&2; fi
fi
# From outside: that is not a failure of the run. What they had to write is whole, or the job leaves no
# code, like one that is killed, and a follow-up job goes on from the newest checkpoint.
if [ -f stopped.json ] || [ -f result.json ]; then
    if outside "$status"; then status=0; fi
elif outside "$status"; then
    rm -f ready
    printf '%s\n' "$status" >interrupted
    [ "$status" -ne 0 ] || status=143
    exit "$status"
fi
if [ "$status" -eq 0 ] && [ -f stopped.json ]; then leave 75; fi
if [ "$status" -eq 0 ] && [ ! -f result.json ]; then
    refuse 'the ranks ended without an error and without a result' \
        'look into logs/; was the job stopped from outside?'
fi
if [ "$status" -eq 0 ]; then : >DONE; fi
leave "$status"
