"""The ``diffsensei`` command. Everything heavy is imported by the command that needs it."""

import json
import os
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from diffsensei.config import PAPER_SOURCES, ExperimentConfig, flatten, load_preset
from diffsensei.config.overrides import describe
from diffsensei.config.schema import CORRECTED, REFERENCE, FidelityConfig
from flows.catalog import FLOWS, FlowEntry, find_flow

USER_ERROR = 2
STAGE_FAILED = 1
BELOW_THRESHOLD = 3
INTERRUPTED = 130
VALUE_WIDTH = 72
FOUNDATION_PARAMETERS = ("only", "steps_scale")


class _OneLineErrors(TyperGroup):
    """Errors a person can act on end in one line and an exit code, not in a traceback (``--debug`` shows it)."""

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        from infra.outcome import StageError, StageRefused

        try:
            return super().invoke(ctx)
        except StageRefused as error:
            _fail(f"{error} (log: {error.log_path})", STAGE_FAILED)
        except StageError as error:
            _fail(str(error), STAGE_FAILED)
        except KeyboardInterrupt:
            _fail("stopped; the same command goes on from here", INTERRUPTED)
        except ValidationError as error:
            _fail(describe(error), USER_ERROR)
        except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
            _fail(str(error), USER_ERROR)


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Customised manga generation as a pipeline: data, training, benchmark, release, report.",
    epilog="Examples: diffsensei run full-pipeline --preset tiny   |   diffsensei plan --set training.stage2.steps=200",
)
data = typer.Typer(no_args_is_help=True, help="Look at the data: what there is, and the embedded world.")
app.add_typer(data, name="data")
imports = typer.Typer(no_args_is_help=True, help="Convert weights of the original DiffSensei.")
app.add_typer(imports, name="import")
story_files = typer.Typer(no_args_is_help=True, help="Story files, which `generate` draws.")
app.add_typer(story_files, name="story")
studies = typer.Typer(no_args_is_help=True, help="The human preference study, from blinded packets to a result.")
app.add_typer(studies, name="study")

Preset = Annotated[str, typer.Option(help="tiny (CPU), small (one GPU) or paper (8 GPUs).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change one field, for example training.stage1.steps=10. Repeatable."
    ),
]
Checkpoint = Annotated[
    str,
    typer.Option(help="A bundle's or pipeline's folder, the original release's, or `released` for the newest here."),
]


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    pass


@app.command(epilog="Example: diffsensei run train --preset tiny --set training.stage2.steps=200")
def run(
    flow: Annotated[str, typer.Argument(help=f"One of: {', '.join(FLOWS)}.")],
    preset: Preset = "tiny",
    overrides: Overrides = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of live bars.")] = False,
) -> None:
    """Run a flow here and now; what is already in the store is reused, what was interrupted goes on.

    Needs no Prefect server. With PREFECT_API_URL set, the run appears on that server.
    """
    entry = find_flow(flow)
    parameters = _parameters(entry, preset, overrides or [])
    if plain:
        os.environ["TERM"] = "dumb"
    from flows.local_run import run_here
    from tasks.publication import open_store

    made = run_here(entry, parameters, open_store().base)
    typer.echo(f"{'report' if 'report' in entry.targets else 'done'}: {made or entry.name}")


def _parameters(entry: FlowEntry, preset: str, overrides: list[str]) -> dict[str, Any]:
    """The flow's parameters, checked before anything is started."""
    if entry.targets:
        load_preset(preset, overrides)
        return {"preset": preset, "overrides": overrides}
    values = dict(assignment.partition("=")[::2] for assignment in overrides)
    unknown = values.keys() - FOUNDATION_PARAMETERS
    if unknown:
        raise ValueError(f"{entry.name} has no {', '.join(sorted(unknown))}; known: {', '.join(FOUNDATION_PARAMETERS)}")
    return {name: json.loads(value) for name, value in values.items()}


@app.command(epilog="Example: diffsensei plan train --set training.stage2.steps=200")
def plan(
    flow: Annotated[str, typer.Argument(help=f"One of: {', '.join(FLOWS)}.")] = "full-pipeline",
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """What a run would do, stage by stage, and why; nothing is started."""
    entry = find_flow(flow)
    if not entry.targets:
        raise ValueError(f"{entry.name} is a single job without a plan; start it with `diffsensei run {entry.name}`")
    config = load_preset(preset, overrides or ())
    from tasks.planning import plan_targets, summary_line, table_rows
    from tasks.publication import open_store
    from tasks.terminal import print_plan

    found = plan_targets(config, entry.targets, open_store())
    print_plan(table_rows(found))
    typer.echo(summary_line(found))


@app.command(epilog="Example: diffsensei show paper")
def show(
    preset: Annotated[str, typer.Argument(help="tiny, small or paper.")],
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Every field of a preset, with the source of each of the paper's numbers."""
    config = load_preset(preset, overrides or ())
    if as_json:
        typer.echo(json.dumps(config.model_dump(mode="json"), indent=2))
        return
    for line in _described(config, preset, overrides or []):
        typer.echo(line)


def _described(config: ExperimentConfig, preset: str, overrides: list[str]) -> Iterator[str]:
    changed = {assignment.partition("=")[0].strip() for assignment in overrides}
    sources = PAPER_SOURCES if preset == "paper" else {}
    values = flatten(config)
    width = (
        max(len(f"{path} = {json.dumps(value)}") for path, value in values.items() if path in sources) if sources else 0
    )
    for path, value in values.items():
        line = f"{path} = {json.dumps(value, ensure_ascii=False)}"
        source = "set on the command line" if _is_under(path, changed) else sources.get(path)
        yield f"{line:<{min(width, 72)}}  # {source}" if source else line


def _is_under(path: str, changed: set[str]) -> bool:
    return any(path == other or path.startswith(f"{other}.") for other in changed)


@app.command(epilog="Example: diffsensei generate examples/rainy-day/story.json -o pages")
def generate(
    story: Annotated[
        Path, typer.Argument(help="A story file (JSON): pages of panels with captions, characters, dialogs.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="page.png (page-001.png... if there are several), or a folder for page-001.png..."
        ),
    ],
    checkpoint: Checkpoint = "released",
    preset: Preset = "tiny",
    overrides: Overrides = None,
    characters: Annotated[
        list[str] | None,
        typer.Option(
            "--character", metavar="NAME=FILE", help="Another image for a character, from anywhere. Repeatable."
        ),
    ] = None,
    lettering: Annotated[bool, typer.Option(help="Write the dialogs' text.")] = True,
    bubbles: Annotated[bool, typer.Option("--bubbles", help="Draw clean bubbles behind the text.")] = False,
    font: Annotated[Path | None, typer.Option(help="A font file for the text, instead of the bundled one.")] = None,
) -> None:
    """Draw manga pages from a story: text, character images, boxes and dialogs.

    The preset gives the release's name, the size of panels and how they are sampled; --set sampling.steps=30 and the
    like change it. docs/story.md describes the file.
    """
    config = load_preset(preset, overrides or ())
    images = dict(_named_file(assignment) for assignment in characters or ())
    if not story.is_file():
        raise ValueError(f"story: expected a JSON file, {story} does not exist or is a folder")
    from diffsensei.inference import DrawingOptions, Lettering
    from tasks.drawing import draw_story

    options = DrawingOptions(Lettering(written=lettering, bubbles=bubbles, font=font), images)
    for page in draw_story(config, story, checkpoint, output, options, _warn):
        typer.echo(str(page))


NewFolder = Annotated[Path, typer.Option(help="A new or empty folder.")]
Fidelity = Literal["reference", "corrected"]
FIDELITY: dict[Fidelity, FidelityConfig] = {"reference": REFERENCE, "corrected": CORRECTED}
AS_TRAINED = (
    "reference: masks, hidden patches of Magi's encoder and empty slots as in the original code, which trained these "
    "weights; corrected: as in ours, for weights trained on with ours."
)


@imports.command("released", epilog="Example: diffsensei import released DiffSensei --output pipeline")
def import_released(
    folder: Annotated[Path, typer.Argument(help="The downloaded release: image_generator/ and mllm/.")],
    output: NewFolder,
    mllm: Annotated[bool, typer.Option(help="Convert the language model too (52 GB).")] = True,
    fidelity: Annotated[
        Fidelity | None, typer.Option(help=f"{AS_TRAINED} Without it: what the folder says, or reference.")
    ] = None,
    lora_alpha: Annotated[float, typer.Option(help="Of LoRA in an agent file of one's own training.")] = 64.0,
) -> None:
    """The released folder to a pipeline's, which `diffsensei generate --checkpoint` takes."""
    from tasks.importing import convert_released

    convert_released(folder, output, mllm, FIDELITY[fidelity] if fidelity else None, lora_alpha)
    typer.echo(str(output))


@imports.command("checkpoint", epilog="Example: diffsensei import checkpoint step-250000/ckpt.pth --output stage1")
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A ckpt.pth of the reference code, of any stage.")],
    output: NewFolder,
    fidelity: Annotated[Fidelity, typer.Option(help=AS_TRAINED)] = "reference",
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """A training checkpoint to the output of the stage that corresponds: unet/, resampler/ or adapter/.

    The configuration's model section gives what tensors do not show; for stage 2, model.foundations.llm must be the
    local folder of the language model that it started from. How it runs is --fidelity, not model.fidelity, which is of
    training to come.
    """
    config = load_preset(preset, overrides or ())
    from tasks.importing import convert_checkpoint

    for folder in convert_checkpoint(checkpoint, config, FIDELITY[fidelity], output):
        typer.echo(str(folder))


@imports.command(
    "language-model", epilog="Example: diffsensei import language-model seed_x/llm --tokenizer tokenizer --output llm"
)
def import_language_model(
    folder: Annotated[Path, typer.Argument(help="A Llama's folder: config.json and weights, whole or in shards.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder with tokenizer.json or tokenizer.model.")],
    output: NewFolder,
) -> None:
    """A Llama and its tokenizer in one folder, for --set model.foundations.llm=FOLDER."""
    from tasks.importing import convert_language_model

    convert_language_model(folder, tokenizer, output)
    typer.echo(str(output))


@imports.command("storygen", epilog="Example: diffsensei import storygen StoryGen --output storygen")
def import_storygen(
    folder: Annotated[Path, typer.Argument(help="The downloaded haoningwu/StoryGen, with unet/.")], output: NewFolder
) -> None:
    """The released StoryGen to the output of its second training stage."""
    from tasks.importing import convert_storygen

    convert_storygen(folder, output)
    typer.echo(str(output))


@imports.command("ms-diffusion", epilog="Example: diffsensei import ms-diffusion ms_adapter.bin --output ms-diffusion")
def import_ms_diffusion(
    weights: Annotated[Path, typer.Argument(help="ms_adapter.bin of doge1516/MS-Diffusion.")],
    output: NewFolder,
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """The released MS-Diffusion to the output of its training stage; the configuration gives blocks and head counts."""
    config = load_preset(preset, overrides or ())
    from tasks.importing import convert_ms_diffusion

    for name in convert_ms_diffusion(weights, config, output):
        typer.echo(f"ignored, without influence: {name}", err=True)
    typer.echo(str(output))


@imports.command(
    "seed-story",
    epilog="Example: diffsensei import seed-story mllm.bin detokenizer.bin --llm llama --tokenizer words --output out",
)
def import_seed_story(
    agent: Annotated[Path, typer.Argument(help="pytorch_model.bin of the language model's training.")],
    detokenizer: Annotated[Path, typer.Argument(help="pytorch_model.bin of the de-tokenizer.")],
    llm: Annotated[Path, typer.Option(help="Folder of the Llama that it was trained from.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder of its tokenizer, with image slots.")],
    output: NewFolder,
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """The released SEED-Story to the outputs of its two training stages, in one folder."""
    config = load_preset(preset, overrides or ())
    from tasks.importing import convert_seed_story

    convert_seed_story(agent, detokenizer, llm, tokenizer, config, output)
    typer.echo(str(output))


def _named_file(assignment: str, option: str = "--character") -> tuple[str, Path]:
    name, _, path = assignment.partition("=")
    if not name or not path:
        raise ValueError(f"{option}: expected NAME=FILE, got {assignment!r}")
    return name, Path(path)


def _warn(line: str) -> None:
    typer.echo(f"warning: {line}", err=True)


@app.command(epilog="Example: diffsensei ui --open")
def ui(
    checkpoint: Checkpoint = "released",
    preset: Preset = "tiny",
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 7860,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """A page in the browser to write a story, place its boxes and draw it; for this machine only. Ctrl-C ends it."""
    config = load_preset(preset, overrides or ())
    from tasks.drawing import serve_studio

    def announce(address: str) -> None:
        typer.echo(address)
        if open_it:
            webbrowser.open(address)

    serve_studio(config, checkpoint, port, announce)


@story_files.command("schema", epilog="Example: diffsensei story schema > story.schema.json")
def story_schema() -> None:
    """The JSON Schema of story files; editors complete and check by it."""
    from diffsensei.inference import Story

    typer.echo(json.dumps(Story.model_json_schema(), indent=2))


@app.command(epilog="Example: diffsensei report --open")
def report(
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Where the newest report is."""
    from tasks.publication import latest_report

    path = latest_report()
    typer.echo(str(path))
    if open_it:
        webbrowser.open(path.resolve().as_uri())


@data.command("preview", epilog="Example: diffsensei data preview --set data.source.seed=7")
def preview(
    preset: Preset = "tiny",
    overrides: Overrides = None,
    pages: Annotated[int, typer.Option(help="Double pages to draw.")] = 6,
    output: Annotated[Path, typer.Option(help="Where the contact sheet (PNG) goes.")] = Path("preview.png"),
) -> None:
    """A contact sheet of drawn pages with their boxes."""
    source = load_preset(preset, overrides or ()).data.source
    if source.kind != "synthetic":
        raise ValueError(f"preset {preset} reads {source.kind} data; a preview is drawn of a synthetic world only")
    from diffsensei.data.preview import preview_world

    preview_world(source, output, pages)
    typer.echo(str(output))


Share = Annotated[float, typer.Option(min=0.0, max=1.0, help="Least accepted share; below it the exit code is 3.")]


@data.command("coverage", epilog="Example: diffsensei data coverage --preset paper --min-pages-share 0.5")
def coverage(
    preset: Preset = "tiny",
    overrides: Overrides = None,
    min_pages_share: Share = 0.0,
    min_panels_share: Share = 0.0,
    min_held_out_share: Share = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """What of the data there is: pages, panels, characters, dialogs per series, split and reason.

    Reads what `diffsensei run ingest` left in the store; starts nothing and needs no GPU.
    """
    config = load_preset(preset, overrides or ())
    from tasks.coverage import print_coverage, shortfalls
    from tasks.data_results import find_coverage
    from tasks.publication import open_store

    found = find_coverage(config, open_store())
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_coverage(found)
    minimums = {"pages": min_pages_share, "panels": min_panels_share, "held_out": min_held_out_share}
    short = shortfalls(found, minimums)
    if short:
        _fail("; ".join(short), BELOW_THRESHOLD)


@data.command("hashes", epilog="Example: diffsensei data hashes -o hashes.json")
def hashes(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the list (JSON) goes.")],
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Digests and perceptual hashes of the images that were downloaded: by them others match their own files."""
    config = load_preset(preset, overrides or ())
    from tasks.data_results import export_hash_list
    from tasks.publication import open_store

    count = export_hash_list(config, open_store(), output)
    typer.echo(f"{output}: {count} images")


@data.command("check", epilog="Example: diffsensei data check annotations.json --preset paper -o checked")
def check_data(
    annotations: Annotated[Path, typer.Argument(help="An annotation file (JSON list of pages).")],
    preset: Preset = "paper",
    overrides: Overrides = None,
    text_encoder: Annotated[
        str, typer.Option(help="Folder of a CLIP text encoder, whose tokenizer counts the captions' tokens.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new folder for the exact list and all figures.")
    ] = None,
) -> None:
    """Everything that can be wrong with an annotation file, before an image is fetched.

    Exit code 1 where more pages are set aside than data.validation.max_quarantine_rate allows.
    """
    config = load_preset(preset, overrides or ())
    from rich.console import Console

    from tasks.data_checks import check_file

    tables, good_enough = check_file(annotations, config, text_encoder, output)
    for table in tables:
        Console().print(table, markup=False)
    if not good_enough:
        rate = config.data.validation.max_quarantine_rate
        _fail(f"more pages are faulty than data.validation.max_quarantine_rate={rate:g} allows", STAGE_FAILED)


@data.command("quarantine", epilog="Example: diffsensei data quarantine --reason panel_too_small --limit 5")
def quarantine(
    preset: Preset = "tiny",
    overrides: Overrides = None,
    reason: Annotated[str | None, typer.Option(help="Only rows of this reason.")] = None,
    level: Annotated[str | None, typer.Option(help="page, panel, character or dialog.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list; its rows can go into a waiver file.")] = False,
) -> None:
    """What the checks set aside, and why.

    To accept an item all the same, list its id and reason in a JSON file: --set data.validation.waivers=FILE. Whatever
    changes, rules, data or waivers, is judged anew by the next run.
    """
    config = load_preset(preset, overrides or ())
    from tasks.data_checks import set_aside_rows

    rows, total = set_aside_rows(config, reason, level, limit)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        typer.echo(f"{row['check']} {row['reason']} {row['level']} {row['id']}: {row['evidence']!a}")
    typer.echo(f"{len(rows)} of {total}")


@data.command("docs", epilog="Example: diffsensei data docs -o data-docs")
def data_docs(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """great_expectations' own pages of the checks; their styles come from public CDNs, so they need a network."""
    config = load_preset(preset, overrides or ())
    from diffsensei.data.validation.data_docs import write_data_docs
    from tasks.data_checks import validated_folder

    for path in write_data_docs(validated_folder(config), output):
        typer.echo(str(path))


@data.command("cast", epilog="Example: diffsensei data cast --series 2 -o cast")
def cast(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the character images (PNG).")],
    series: Annotated[int, typer.Option(min=0, help="Which series of the synthetic world.")] = 0,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Character images of a series, for stories, with the words captions describe them by."""
    source = load_preset(preset, overrides or ()).data.source
    if source.kind != "synthetic":
        raise ValueError(f"preset {preset} reads {source.kind} data; only a synthetic world has a cast to draw")
    from diffsensei.data.synthetic.portraits import write_cast

    for portrait in write_cast(source.seed, series, output):
        typer.echo(f"{portrait.path}: {portrait.look}")


Annotations = Annotated[
    Path, typer.Option(help="Folder with annotations.json; for images also halves.parquet, objects/.")
]


@data.command("edit-sheet", epilog="Example: diffsensei data edit-sheet --annotations store/download -o sheets")
def edit_sheet(
    annotations: Annotations,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the sheets (HTML).")],
    per: Annotated[Literal["page", "chapter"], typer.Option(help="A file per page, or per folder of pages.")] = "page",
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Pages to correct in a browser, offline: who is who, by keyboard. docs/annotation.md describes it."""
    largest = load_preset(preset, overrides or ()).data.download.max_megapixels
    from tasks.annotating import write_sheets

    for path in write_sheets(annotations, output, per, largest):
        typer.echo(str(path))


@data.command(
    "export-labels",
    epilog="Example: diffsensei data export-labels --annotations store/download --format cvat -o labels",
)
def export_labels(
    annotations: Annotations,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    format_: Annotated[Literal["label-studio", "cvat"], typer.Option("--format", help="Whom it is for.")],
    image_prefix: Annotated[
        str, typer.Option(help="Label Studio: what comes before an image's name.")
    ] = "/data/local-files/?d=images/",
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Pages with the machine's boxes for Label Studio or CVAT."""
    largest = load_preset(preset, overrides or ()).data.download.max_megapixels
    from tasks.annotating import export_labels

    for path in export_labels(annotations, output, format_, image_prefix, largest):
        typer.echo(str(path))


EditFiles = Annotated[list[Path], typer.Argument(help="Edits (JSONL), Label Studio's JSON, CVAT's XML; in order.")]


@data.command(
    "import-labels",
    epilog="Example: diffsensei data import-labels export.json --annotations store/download -o edits.jsonl",
)
def import_labels(
    files: EditFiles,
    annotations: Annotations,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the edits (JSONL) go.")],
) -> None:
    """What people changed, as one file for data.annotation.edits."""
    from tasks.annotating import import_labels

    typer.echo(f"{import_labels(files, annotations, output)} edits: {output}")


@data.command("agreement", epilog="Example: diffsensei data agreement edits.jsonl --annotations store/download")
def agreement(
    files: EditFiles,
    annotations: Annotations,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="All figures as JSON.")] = None,
) -> None:
    """How far annotators agree on who is who, and the machine with the final layer."""
    from tasks.annotating import measure_agreement

    for line in measure_agreement(files, annotations, output):
        typer.echo(line)


@data.command("retry", epilog="Example: diffsensei data retry --preset paper --reason dead_url_404")
def retry(
    reasons: Annotated[
        list[str] | None, typer.Option("--reason", help="A reason of quarantine, as the report names it. Repeatable.")
    ] = None,
    preset: Preset = "paper",
    overrides: Overrides = None,
) -> None:
    """Let the next run download again what failed for a reason; without one, the reasons there are."""
    config = load_preset(preset, overrides or ())
    from tasks.retrying import retry_downloads

    for reason, count in retry_downloads(config, reasons or []).items():
        typer.echo(f"{reason}: {count} to be tried again")


Study = Annotated[Path, typer.Argument(help="A prepared study's folder.")]


@studies.command("prepare", epilog="Example: diffsensei study prepare benchmark -m ours=ours/images/0 ... -o study")
def study_prepare(
    benchmark: Annotated[Path, typer.Argument(help="The frozen benchmark: panels.jsonl, truth/, references/.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    methods: Annotated[
        list[str], typer.Option("--method", "-m", metavar="NAME=FOLDER", help="A method's panel images. Repeatable.")
    ],
    consent: Annotated[Path | None, typer.Option(help="Text file raters agree to, paragraphs apart.")] = None,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """Blinded packets, one a rater, and the key that unblinds them. docs/study.md tells how to run a study."""
    config = load_preset(preset, overrides or ())
    from tasks.studying import prepare

    for line in prepare(
        config, benchmark, dict(_named_file(method, "--method") for method in methods), output, consent
    ):
        typer.echo(line)


@studies.command("serve", epilog="Example: diffsensei study serve study")
def study_serve(
    study: Study,
    host: Annotated[str, typer.Option(help="Listen there; others than this machine need --address too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7870,
    address: Annotated[str, typer.Option(help="What raters open, for example https://study.example.org.")] = "",
) -> None:
    """Serve the packets to raters with invitations and keep their votes. Ctrl-C ends it, a later call goes on."""
    from tasks.studying import serve

    serve(study, host, port, address, typer.echo)


@studies.command("packets", epilog="Example: diffsensei study packets study --output to-send")
def study_packets(study: Study, output: NewFolder) -> None:
    """One HTML file a rater, that works without a server or network."""
    from tasks.studying import packets

    for path in packets(study, output):
        typer.echo(str(path))


@studies.command("import", epilog="Example: diffsensei study import study answers-*.json")
def study_import(
    study: Study, files: Annotated[list[Path], typer.Argument(help="Files that raters sent back.")]
) -> None:
    """Take in votes from offline packets; a file is taken whole or refused with its reason (exit code 1)."""
    from tasks.studying import import_files

    lines, refused = import_files(study, files)
    for line in lines:
        typer.echo(line)
    if refused:
        raise typer.Exit(STAGE_FAILED)


@studies.command("analyse", epilog="Example: diffsensei study analyse study --output result")
def study_analyse(
    study: Study, output: Annotated[Path, typer.Option("--output", "-o", help="Folder for study.json and tables.")]
) -> None:
    """Preferences with intervals, strengths, agreement; who was left out and why."""
    from tasks.studying import analyse

    for line in analyse(study, output):
        typer.echo(line)


@studies.command("simulate", epilog="Example: diffsensei study simulate -o power.json --set study.num_raters=30")
def study_simulate(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the JSON goes.")],
    methods: Annotated[int, typer.Option(min=2, max=20, help="How many are compared.")] = 6,
    pages: Annotated[int, typer.Option(min=2, help="How many pages there are.")] = 96,
    simulated: Annotated[int, typer.Option("--studies", min=1, help="Simulated studies for each difference.")] = 200,
    preset: Preset = "tiny",
    overrides: Overrides = None,
) -> None:
    """How likely a study of this size tells two methods apart."""
    config = load_preset(preset, overrides or ())
    from tasks.studying import simulate

    for line in simulate(config, methods, pages, simulated, output):
        typer.echo(line)


@app.command()
def version() -> None:
    """Versions of this package and of what decides its results."""
    from importlib.metadata import version as installed

    for name in ("diffsensei-pipeline", "torch", "diffusers", "transformers", "peft", "prefect"):
        typer.echo(f"{name} {installed(name)}")


def main() -> None:
    app()
