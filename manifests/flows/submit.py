"""From a config file to a plan: all is read, checked and decided before a byte is written."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from jobtemplates.script import render_script, script_warnings
from manifests.config.combinations import loader_warnings
from manifests.config.determinism import determinism_for
from manifests.config.run_config import checkpointing, loading, observing, training
from manifests.flows.archive import archive_notes
from manifests.flows.host_answers import HostAnswers, ask_host
from manifests.flows.material import Material, fill_run, read_material
from manifests.flows.plan import Plan, new_run
from manifests.flows.preflight import image_identity
from manifests.flows.request import Request, read_request
from manifests.host import hosting
from manifests.host.context import TOOL_VERSION, HostContext
from manifests.host.placing import output_warnings, unseen_warnings
from manifests.record import schema
from manifests.record.run_files import RunFiles
from manifests.rundir.snapshot_size import copy_text, large_text


def plan_submit(
    config_path: Path, host: HostContext, *, group: Optional[str] = None, read_only: bool = False
) -> Plan:
    """Config -> Plan. ``read_only`` (a dry run) leaves even the fingerprint cache as it is.

    Raises Trouble with every problem that can be known before the run.
    """
    request = read_request(config_path, host, group, read_only=read_only)
    answers = ask_host(request, host, read_only=read_only)
    material = read_material(request, answers.recipe, host, read_only=read_only)
    identity = identity_of(request, answers, material)
    if material.before is not None:
        material.before.refuse_another(identity)
    manifest = schema.Manifest(
        identity_digest=identity.digest(),
        identity=identity,
        circumstance=circumstance_of(request, answers, material, host),
        promises=request.promises,
        recipe=schema.Recipe(stack=answers.recipe.stack, files=dict(answers.recipe.files)),
    )
    files = new_run(
        request.config.out, request.config.jobname, host.now(), manifest.identity_digest
    )

    def render(files: RunFiles) -> str:
        return render_script(manifest, files, request.site, answers.launch)

    return Plan(
        files=files,
        manifest=manifest,
        script=render(files),
        render=render,
        fill=lambda target: fill_run(target, request, material),
        warnings=warnings_of(request, answers, material, manifest, files, host.cores),
        notes=notes_of(request, material, manifest),
    )


def identity_of(request: Request, answers: HostAnswers, material: Material) -> schema.Identity:
    initmodel = request.initmodel
    return schema.Identity(
        training=training(request.config),
        code=material.snapshot.identity,
        image=image_identity(answers.image),
        data=schema.DataIdentity(
            train=material.images.train.identity,
            val=material.images.val.identity,
            mean=request.lists.mean.identity,
            initmodel=initmodel.sha256 if initmodel else None,
        ),
        world=request.world,
        determinism=determinism_for(request.config.stack),
    )


def circumstance_of(
    request: Request, answers: HostAnswers, material: Material, host: HostContext
) -> schema.Circumstance:
    config, snapshot, before = request.config, material.snapshot, material.before
    packed = config.loadtype == "custom"
    return schema.Circumstance(
        created=host.timestamp(),
        host=host.hostname,
        user=host.user,
        tool_version=TOOL_VERSION,
        paths=schema.Paths(
            config=str(request.config_path.resolve()),
            image=str(answers.image.path),
            train_root=str(config.train_root),
            val_root=str(config.val_root),
            train_pack=str(config.train_pack) if packed else None,
            val_pack=str(config.val_pack) if packed else None,
            out=str(config.out),
        ),
        placement=request.placed,
        loading=loading(config),
        observing=observing(config),
        checkpointing=checkpointing(config),
        authors=config.authors or None,
        license=config.license,
        resumed=before.resumed() if before else None,
        git=snapshot.git,
        bundleignore=snapshot.bundleignore,
        other_code=snapshot.other,
    )


def warnings_of(
    request: Request,
    answers: HostAnswers,
    material: Material,
    manifest: schema.Manifest,
    files: RunFiles,
    cores: int,
) -> List[str]:
    site, layout, initmodel = request.site, request.layout, request.initmodel
    return [
        *request.warnings,
        *answers.warnings,
        *material.warnings,
        *answers.launch_warnings,
        *([initmodel.note] if initmodel and initmodel.few else []),
        *request.lists.warnings,
        *material.images.warnings,
        *loader_warnings(
            loading(request.config),
            layout.ranks // layout.nodes,
            site.cores_of_a_node(request.config.nnodetype, cores),
            "rank" if layout.ranks == request.world.ranks else "process",
        ),
        *unseen_warnings(site, manifest.circumstance.paths),
        *output_warnings(site, files.root),
        *script_warnings(manifest, site),
    ]


def notes_of(request: Request, material: Material, manifest: schema.Manifest) -> List[str]:
    initmodel, sizes = request.initmodel, material.snapshot.sizes
    return [
        *([initmodel.note] if initmodel and not initmodel.few else []),
        *hosting.notes(manifest, request.placed),
        *archive_notes(manifest),
        *([] if large_text(sizes) else [copy_text(sizes)]),
    ]
