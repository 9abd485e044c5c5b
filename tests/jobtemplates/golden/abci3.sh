#!/bin/bash
#PBS -S /bin/bash
#PBS -V
#PBS -N digits
#PBS -o logs/scheduler.log
#PBS -j oe
#PBS -r n
#PBS -l walltime=01:00:00
#PBS -P gaa50000
#PBS -q rt_HF
#PBS -l select=2:mpiprocs=8
# Run digits-20260102T030405Z-abcdef01, made by bundle 0.1.0. This is exactly what was submitted.
export JOB_ID=${PBS_JOBID%%.*}
# Where Open MPI was built without PBS's library it does not find the hosts by itself.
export OMPI_MCA_orte_default_hostfile=$PBS_NODEFILE PRTE_MCA_prte_default_hostfile=$PBS_NODEFILE

child=
warned=
ended=
# The scheduler's warning is for the ranks, which save and end. It waits until they are ready. Some
# schedulers send it to all processes of the job: what is started before the ranks must not die of it.
trap 'warned=1' USR2
trap 'ended=1; [ -z "$child" ] || kill -TERM "$child"; [ -n "$child" ] || exit 143' TERM INT
unwarned() { (trap '' USR2 && "$@"); }

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
# A follow-up job has nothing to do where the one before it finished the run, or failed.
if [ -f DONE ] && [ -f result.json ]; then exit 0; fi
if [ -f failure.json ]; then exit 0; fi
if [ -f exit_code ] && [ "$(<exit_code)" != 75 ]; then exit 0; fi
for log in /out/digits-20260102T030405Z-abcdef01/logs/"$JOB_ID".o.log /out/digits-20260102T030405Z-abcdef01/logs/stderr.log; do
    unwarned mkdir -p -- "${log%/*}"
done
exec >>/out/digits-20260102T030405Z-abcdef01/logs/"$JOB_ID".o.log 2>>/out/digits-20260102T030405Z-abcdef01/logs/stderr.log
unwarned rm -f DONE exit_code failure.json ready result.json stopped.json
# At this second (since 1970) the job will be ended; the trainer saves and ends before it.
printf -v deadline '%(%s)T' -1
deadline=$((deadline + 3600))

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
if [ "$files" != unlimited ] && [ "$files" -lt 194 ] && ! ulimit -S -n 194 2>/dev/null; then
    refuse "a process on $(uname -n) may open $(ulimit -H -n) files, mpirun needs 194" \
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
command -v mpirun >/dev/null || refuse 'there is no mpirun on PATH' \
    'load or install Open MPI (an administrator: apt-get install openmpi-bin), then submit again'

# The node's scratch folder must exist inside the container too: MPI keeps its sockets there.
case ${TMPDIR:-/tmp} in /*) ;; *) unset TMPDIR ;; esac
scratch=()
case ${TMPDIR:-/tmp} in
/tmp | /tmp/* | /var/tmp | /var/tmp/*) ;;
*) scratch=(--mount "type=bind,\"source=${TMPDIR//\"/\"\"}\",\"destination=${TMPDIR//\"/\"\"}\"") ;;
esac

start() { # mpirun takes the place of the shell that calls this
    exec mpirun \
    -np 16 \
    --map-by ppr:8:node:PE=24 \
    --mca btl_vader_single_copy_mechanism none \
    --mca coll_tuned_use_dynamic_rules 1 \
    /usr/bin/apptainer \
    --quiet exec \
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
    --env PYTHONPATH= "${scratch[@]}" \
    --env "BUNDLE_DEADLINE=$deadline" \
    "$image" \
    python3 -m trainer
}
again=
while :; do
    (trap '' USR2 && start) &
    child=$!
    while :; do
        if [ -n "$warned" ] && [ -f ready ]; then
            kill -USR2 "$child" 2>/dev/null
            warned=
        elif [ -n "$warned" ]; then
            sleep 1 &
            wait "$!"
            if kill -0 "$child" 2>/dev/null; then continue; fi
        fi
        wait "$child"
        status=$?
        if [ "$status" -le 128 ]; then break; fi
        # `wait` also returns when a trapped signal arrives; the ranks may go on after it.
        if kill -0 "$child" 2>/dev/null; then continue; fi
        # Where they ended at that very moment bash has lost how; what they left tells.
        if [ -f stopped.json ]; then status=0; fi
        break
    done
    # A warning that ended the ranks before they were ready: they begin anew, and get it when they are.
    if [ "$status" -ne 0 ] && [ -n "$warned" ] && [ -z "$ended$again" ] && [ ! -f ready ] &&
        [ ! -f failure.json ]; then
        again=1
        continue
    fi
    break
done

if [ "$status" -eq 0 ] && [ -f stopped.json ]; then leave 75; fi
if [ "$status" -eq 0 ] && [ ! -f result.json ]; then
    refuse 'the ranks ended without an error and without a result' \
        'look into logs/; was the job stopped from outside?'
fi
if [ "$status" -eq 0 ]; then : >DONE; fi
# Ended from outside, at the scheduler's limit or by a cancel: that is no failure of the run. It leaves
# no code, as a job that is killed, and a follow-up job goes on.
if [ -n "$ended" ] && [ "$status" -ne 0 ] && [ ! -f failure.json ]; then
    rm -f ready
    exit "$status"
fi
# Killed, or ended by an MPI that has no word for it: the log is not to be empty.
if [ "$status" -ne 0 ] && [ ! -f failure.json ]; then
    printf 'bundle: the ranks ended with status %s, and none of them could say why\n-> %s\n' "$status" \
        'look at their nodes: memory (137 is a kill), room in /dev/shm and TMPDIR, ulimit -n' >&2
fi
leave "$status"
