"""`cite`: what stands in a paper, and that LaTeX and BibTeX can read it"""

from __future__ import annotations

import json

from manifests.record.run_files import RunFiles
from manifests.record.schema import Author
from manifests.report.citation import Cited, bibtex, latex, paragraph
from manifests.rundir.records import read_manifest, read_result
from tests.manifests.cli.verbs.conftest import CommandLine


def cited(run: RunFiles, *authors: Author, **more: int) -> Cited:
    manifest = read_manifest(run)
    circumstance = manifest.circumstance.model_copy(
        update={"authors": list(authors) or None, "license": "CC-BY-4.0"}
    )
    manifest = manifest.model_copy(update={"circumstance": circumstance})
    return Cited("my_digits-20260131T235958Z-01234567", manifest, read_result(run), **more)


def test_the_paragraph(finished_run: RunFiles) -> None:
    one = cited(finished_run, identical=2, judged=3)
    manifest, result = one.manifest, one.result
    assert paragraph(one) == (
        "The network nin was trained on 4 images of 2 classes (2 images for validation) for "
        "3 epochs (12 steps) with momentum_sgd, 2 images per rank on 2 ranks, float32, seed 0. "
        "Its validation accuracy is 90.00 %. "
        "The run my_digits-20260131T235958Z-01234567 was made with bundle 0.1.0 and can be "
        "repeated bit for bit: settings, code, image and data have the digest (sha256) "
        f"{manifest.identity_digest}, the container image has the sha256 "
        f"{manifest.identity.image.sha256}, and the final parameters have the digest "
        f"{result.digests.parameters}. The same bits came out of 2 of 3 reruns."
    )
    rooted = result.model_copy(update={"root": "7" * 64})
    text = paragraph(Cited(one.name, manifest, rooted, 1, 1))
    assert f" bound by the root {'7' * 64}. The same bits came out of 1 rerun." in text
    assert "rerun" not in paragraph(Cited(one.name, manifest, result))


def test_the_entry(finished_run: RunFiles) -> None:
    authors = (Author(name="Ada Lovelace"), Author(name="Bell and Sons, 100% & Co_"))
    one = cited(finished_run, *authors)
    assert bibtex(one) == (
        "@misc{my-digits-20260131T235958Z-01234567,\n"
        r"  title        = {{Training run my\_digits-20260131T235958Z-01234567: nin, 2 classes, "
        "3 epochs}},\n"
        r"  author       = {Ada Lovelace and {Bell and Sons, 100\% \& Co\_}},"
        "\n"
        "  year         = {2026},\n"
        "  month        = jan,\n"
        "  howpublished = {Training run, recorded with bundle 0.1.0},\n"
        f"  note         = {{Identity sha256 {one.manifest.identity_digest}, parameters "
        f"{one.result.digests.parameters}, licence CC-BY-4.0}},\n"
        "}"
    )
    nobody = bibtex(cited(finished_run))
    assert "author" not in nobody
    assert r"  key          = {my\_digits-20260131T235958Z-01234567}," in nobody


def test_letters_of_latex() -> None:
    assert latex(r"a_b {c} \d 50% #1 $x ~ ^ é") == (
        r"a\_b \{c\} \textbackslash{}d 50\% \#1 \$x \textasciitilde{} \textasciicircum{} é"
    )


def test_the_verb(finished_run: RunFiles, bundle: CommandLine) -> None:
    values = json.loads(finished_run.manifest.read_text())
    name = f"digits-20260201T000000Z-{values['identity_digest'][:8]}"
    again = RunFiles(finished_run.root.parent / name)
    again.root.mkdir()
    values["circumstance"]["rerun_of"] = str(finished_run.root)
    again.manifest.write_text(json.dumps(values))
    verdict = {"version": "1.3", "kind": "comparison", "verdict": "identical", "a": "x", "b": "y"}
    again.verdict.write_text(json.dumps(verdict))
    text = bundle("cite", finished_run.root).stdout
    assert text.startswith("The network nin was trained on 4 images")
    assert "The same bits came out of 1 rerun.\n\n@misc{digits-20260131T235958Z-01234567," in text
    found = json.loads(bundle("cite", finished_run.root, "--json").stdout)
    assert f"{found['paragraph']}\n\n{found['bibtex']}\n" == text
    # A rerun of some steps is not counted as one of the run.
    part = {"begin": 0, "after": 0, "end": 2, "of": 12, "bound": True}
    again.verdict.write_text(json.dumps({**verdict, "steps": part}))
    assert json.loads(bundle("cite", finished_run.root, "--json").stdout)["judged"] == 0
    finished_run.result.unlink()
    done = bundle("cite", finished_run.root, code=2)
    assert (done.stdout, done.stderr) == (
        "",
        f"bundle: {finished_run.root}: has no result that could be cited\n"
        f"-> see how far it is: python bundle.py status {finished_run.root}\n",
    )
