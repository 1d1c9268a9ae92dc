"""The report's page in a browser: headless Chromium, by its command line.

A script appended to the page acts as a user would and writes its result into the page.
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import EVIL, write_study
from helpers.fronts import write_front
from helpers.results import write_results

from raytune_yesno.report import write_report
from raytune_yesno.study import Study, load, load_all
from raytune_yesno.study.store import StudyStore

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium here (on Debian: apt-get install chromium)"
    ),
]
IMAGES = Path(__file__).parents[2] / "docs/images"
PLOTS = ("curves", "progress", "parallel", "pair", "timeline")


def run_browser(page: Path, *options: str, width: int = 1200, dark: bool = False) -> str:
    """Open a page and return the browser's output."""
    assert BROWSER
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--no-first-run"),
            f"--user-data-dir={page.parent / 'profile'}",
            f"--window-size={width},900",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            "--virtual-time-budget=20000",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def open_page(page: Path, script: str = "", **look: Any) -> tuple[str, Any]:
    """Return the DOM after the page's scripts have run, and the result of ``script``."""
    copy = page.with_name("opened.html")
    run = (
        "<script>(async () => { while (document.documentElement.dataset.ready !== 'true') "
        "await new Promise((go) => setTimeout(go, 20)); "
        f"const result = await (async () => {{ {script} }})(); "
        "const pre = document.createElement('pre'); pre.id = 'result'; "
        "pre.textContent = JSON.stringify(result ?? null); document.body.append(pre); })();"
        "</script>"
    )
    copy.write_text(page.read_text().replace("</body>", run + "</body>"))
    dom = run_browser(copy, "--dump-dom", **look)
    errors = re.search(r'<div id="errors"[^>]*>(.*?)</div>', dom, re.DOTALL)
    assert errors
    assert errors[1] == ""
    result = re.search(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL)
    assert result
    return dom, json.loads(html.unescape(result[1]))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("browser") / "study", error=EVIL)


@pytest.fixture(scope="module")
def page(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([study], tmp_path_factory.mktemp("page")).html


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_every_plot_is_drawn(page: Path, width: int, dark: bool) -> None:
    dom, result = open_page(
        page,
        """return {
            drawn: Object.fromEntries([...document.querySelectorAll(".plot")].map(
                (plot) => [plot.id, Number(plot.dataset.drawn)])),
            inked: [...document.querySelectorAll(".plot")].map((plot) => {
                const canvas = plot.querySelector("canvas");
                const { width, height } = canvas;
                const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
                return pixels.data.some((value) => value > 0);
            }),
            wide: document.documentElement.scrollWidth <= innerWidth,
            dark: matchMedia("(prefers-color-scheme: dark)").matches,
        };""",
        width=width,
        dark=dark,
    )
    drawn = result["drawn"]
    assert set(drawn) == {*(f"plot-{name}" for name in PLOTS), *(f"slice-{k}" for k in range(4))}
    assert drawn["plot-curves"] == drawn["plot-timeline"] == 30
    assert drawn["plot-parallel"] == drawn["plot-pair"] == drawn["slice-3"] == 29
    assert all(result["inked"])
    assert result["wide"]  # the page itself does not scroll sideways
    assert result["dark"] == dark
    assert dom.count("<img") == 0


def test_the_table_shows_the_numbers_sorts_and_filters(page: Path, study: Study) -> None:
    _, result = open_page(
        page,
        """const column = (name) => {
            const k = [...document.querySelectorAll("#trials th")]
                .findIndex((th) => th.dataset.column === name);
            return [...find("trials").tBodies[0].rows].map((row) => row.cells[k].textContent);
        };
        const click = (name) => document.querySelector(`th[data-column="${name}"] button`).click();
        const filter = (text) => {
            find("filter").value = text;
            find("filter").dispatchEvent(new Event("input"));
        };
        const first = [column("trial"), column("valid_loss")];
        click("trial");
        const up = column("trial");
        click("trial");
        const down = column("trial");
        filter("status=stopped epochs<4");
        const stopped = column("trial"), count = find("count").textContent;
        filter("boom-nothing");
        const none = column("trial").length;
        filter("recorderror");
        return { first, up, down, stopped, count, none, failed: column("error") };""",
    )
    ranked = study.trials[study.trials["status"] != "failed"].sort_values("valid_loss")
    trials, losses = result["first"]
    everything = study.trials.sort_values("valid_loss")
    assert trials[0] == str(ranked["trial"].iloc[0])
    shown = [float(loss) for loss in losses]
    assert shown == pytest.approx(everything["valid_loss"].tolist(), rel=1e-3)
    assert result["up"] == [str(number) for number in range(30)]
    assert result["down"] == result["up"][::-1]
    stopped = study.trials[study.trials["status"] == "stopped"]["trial"]
    assert sorted(map(int, result["stopped"])) == stopped.tolist()
    assert result["count"] == f"{len(stopped)} of 30 trials"
    assert result["none"] == 0
    assert result["failed"] == [EVIL]


@pytest.mark.parametrize("width", [1200, 400])
def test_many_hyperparameters_are_shown_in_part_and_every_choice_has_its_label(
    tmp_path: Path, width: int
) -> None:
    _, result = open_page(
        write_report([write_wide_study(tmp_path / "wide")], tmp_path / "out").html,
        """const words = [], dots = [], proto = CanvasRenderingContext2D.prototype;
        const { fillText, arc } = proto;
        proto.fillText = function (text, ...where) {
            words.push(text);
            fillText.call(this, text, ...where);
        };
        proto.arc = function (x, ...more) { dots.push(x); arc.call(this, x, ...more); };
        const draw = (id) => {
            words.length = dots.length = 0;
            plots.find((plot) => plot.host.id === id).render();
            return { words: [...words], places: new Set(dots).size };
        };
        const slice = (name) => draw("slice-" + S.axes.findIndex((axis) => axis.name === name));
        const before = draw("plot-parallel").words, shown = S.shown.length;
        const boxes = [...find("axes-list").querySelectorAll("input")];
        boxes.find((box) => !box.checked).click();
        boxes.find((box) => box.checked).click();
        const after = draw("plot-parallel").words;
        scrollTo({ top: 3000, behavior: "instant" });
        await new Promise((go) => setTimeout(go, 50));
        const nav = document.querySelector("nav").getBoundingClientRect().top;
        const text = document.querySelector("#parallel .say"), card = text.parentElement;
        const table = getComputedStyle(document.querySelector("#table .wide"));
        return { shown, before, after, boxes: boxes.length, nav, top: scrollY,
                 width: text.offsetWidth / card.clientWidth, edges: table.backgroundImage,
                 choice: slice("choice"), layers: slice("layers"),
                 legend: find("timeline-legend").textContent };""",
        width=width,
    )
    names = {"choice", "layers", *(f"knob{k}" for k in range(10))}
    assert (result["shown"], result["boxes"]) == (8, 12)
    before, after = (names & set(result[key]) for key in ("before", "after"))
    assert (len(before), len(after), len(before ^ after)) == (8, 8, 2)
    assert {"one", "two", "three", "four", "five"} <= set(result["choice"]["words"])
    assert result["choice"]["places"] == 5  # dots are not spread out
    assert result["layers"]["places"] == 3
    numbers = {text for text in result["layers"]["words"] if text.startswith(("1", "2", "3"))}
    assert not {text for text in numbers if text.startswith(("1.", "2."))}
    assert result["top"] > 2000
    assert result["width"] > 0.9  # text has the width of its card
    assert result["edges"].count("gradient") == 4  # shadows show that a table scrolls
    assert result["nav"] == 0  # the navigation is reachable from everywhere
    assert "best trial" in result["legend"]


def write_wide_study(folder: Path) -> Study:
    """Write a study of 12 hyperparameters."""
    knobs = {f"knob{k}": {"float": [0.0, 1.0]} for k in range(10)}
    options = ["one", "two", "three", "four", "five"]
    space = {"choice": {"choice": options}, "layers": {"int": [1, 3]}, **knobs}
    store = StudyStore(folder)
    store.append("study", time=0.0, slots=1, trials=15, config={"epochs": 1}, space=space)
    for trial in range(15):
        point = {"choice": options[trial % 5], "layers": trial % 3 + 1}
        point |= {name: (trial * (k + 3) % 15) / 15 for k, name in enumerate(knobs)}
        store.append("asked", time=float(trial), trial=trial, point=point)
        store.append("started", time=float(trial), trial=trial, attempt=1)
        about = {"host": "here", "pid": 1, "began": float(trial), "ended": trial + 0.9}
        loss = 2.0 + trial % 5 + trial / 100
        store.append(
            "epoch", time=trial + 0.9, trial=trial, attempt=1, epoch=1, train_loss=loss,
            valid_loss=loss, seconds=0.9, **about,
        )  # fmt: skip
        store.append("ended", time=trial + 0.9, trial=trial, status="done")
    store.append("searched", time=15.0)
    return load(folder)


def test_hover_keys_and_copy(page: Path, study: Study) -> None:
    _, result = open_page(
        page,
        """const plot = find("plot-curves"), box = plot.getBoundingClientRect(), seen = {};
        const move = (x, y) => plot.dispatchEvent(new PointerEvent(
            "pointermove", { clientX: box.left + x, clientY: box.top + y }));
        for (let x = 40; x < box.width; x += 15) for (let y = 10; y < box.height; y += 15) {
            move(x, y);
            if (state.lit !== null) seen[state.lit] = find("tip").textContent;
        }
        plot.dispatchEvent(new PointerEvent("pointerleave"));
        const hidden = find("tip").hidden;
        plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        const best = state.lit, tip = find("tip").textContent;
        plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        const second = state.lit;
        plot.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
        const copied = [];
        copyText = async (text) => copied.push(text);
        document.querySelector("#trials tbody button.copy").click();
        document.querySelector(".code button.copy").click();
        document.querySelector('[data-against="seconds"]').click();
        const { lit, against } = state;
        return { seen, hidden, best, tip, second, lit, copied, against };""",
    )
    assert study.best is not None
    ranking = [trial.number for trial in study.ranking]
    assert len(result["seen"]) > 10
    for number, text in result["seen"].items():
        assert text.startswith(f"Trial {number}")
        assert "learning_rate" in text
    assert result["hidden"]
    assert (result["best"], result["lit"]) == (ranking[0], None)
    assert f"Trial {ranking[0]}" in result["tip"]
    assert result["second"] == ranking[1]
    config, command = result["copied"]
    assert json.loads(config) == study.best.point
    assert command.startswith("raytune-yesno train --data synthetic")
    assert result["against"] == "seconds"


def test_parameters_with_names_of_javascript_are_copied(tmp_path: Path) -> None:
    """The pointer over the only axis, that of the metric, finds a trial, too."""
    point = {"constructor": 1, "__proto__": 2}
    study = write_results(
        tmp_path / "study",
        [{"metrics": {"loss": 0.1 * (1 + k)}, "point": point} for k in range(3)],
    )
    _, result = open_page(
        write_report([study], tmp_path / "page").html,
        """const plot = find("plot-parallel"), box = plot.getBoundingClientRect(), seen = [];
        for (let y = 10; y < box.height; y += 10) {
            plot.dispatchEvent(new PointerEvent(
                "pointermove", { clientX: box.left + 40, clientY: box.top + y }));
            if (state.lit !== null && !seen.includes(state.lit)) seen.push(state.lit);
        }
        return { seen: seen.sort(), config: JSON.stringify(configOf(0)) };""",
    )
    assert result["seen"] == [0, 1, 2]
    assert json.loads(result["config"]) == point


def test_several_studies_can_be_selected(study: Study, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_study(tmp_path / f"other{seed}", 6, search="tpe", seed=seed)
    studies = [study, *load_all([tmp_path / "other1", tmp_path / "other2"])]
    page = write_report(studies, tmp_path / "out").html
    _, result = open_page(
        page,
        """const seen = [];
        for (const option of find("study").options) {
            find("study").value = option.value;
            find("study").dispatchEvent(new Event("change"));
            while (document.documentElement.dataset.ready !== "true") {
                await new Promise((go) => setTimeout(go, 20));
            }
            const blocks = [...document.querySelectorAll("#outcome .of-study")];
            seen.push([
                option.textContent, find("plot-curves").dataset.drawn,
                find("trials").tBodies[0].rows.length,
                blocks.filter((block) => !block.hidden).length,
            ]);
        }
        const words = [], write = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...where) {
            words.push(text);
            write.call(this, text, ...where);
        };
        plots.find((plot) => plot.host.id === "plot-progress").render();
        const legend = [...find("progress-legend").children].map((item) => item.textContent);
        return { seen, overlaid: find("plot-progress").dataset.drawn, words, legend };""",
    )
    assert result["seen"] == [["study", "30", 30, 1], ["other1", "6", 6, 1], ["other2", "6", 6, 1]]
    assert result["overlaid"] == "3"
    groups = ["random + asha", "tpe + asha"]  # of studies that differ only in their seed
    assert [text.split(":")[0] for text in result["legend"]] == groups
    assert set(groups) <= set(result["words"])  # the overlaid lines carry their names


@pytest.mark.parametrize("width", [1200, 400])
def test_a_front_is_drawn_and_explained(tmp_path: Path, width: int) -> None:
    study = write_front(tmp_path / "study", limits=["size<=5000"])
    page = write_report([study], tmp_path / "report").html
    script = """
      const drawn = ["plot-front", "plot-volume"].map((id) => find(id).dataset.drawn);
      document.querySelector('[data-volume="epochs"]').click();
      find("front-x").value = "0"; find("front-y").value = "1";
      find("front-x").dispatchEvent(new Event("change"));
      find("plot-front").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
      return { drawn, tip: find("tip").textContent, corner: find("front-corner").textContent,
               wide: document.documentElement.scrollWidth <= innerWidth };
    """
    dom, result = open_page(page, script, width=width)
    assert result["drawn"] == ["6", "1"]
    assert "accuracy" in result["tip"]
    assert "size" in result["tip"]
    assert result["corner"] == "bottom right"
    assert result["wide"]
    assert "3 of 5 trials" in dom
    run_browser(page, f"--screenshot={tmp_path / 'front.png'}", width=width)


def test_the_attainment_of_several_studies_is_drawn(tmp_path: Path) -> None:
    studies = [
        write_front(tmp_path / "one", search="auto"),
        write_front(tmp_path / "two", [(0.4, 20), (0.8, 700)], search="random"),
    ]
    page = write_report(studies, tmp_path / "report").html
    script = """
      const host = find("plot-attained"), box = host.getBoundingClientRect();
      const event = { clientX: box.left + 0.75 * box.width, clientY: box.top + 50 };
      host.dispatchEvent(new PointerEvent("pointermove", event));
      return { drawn: host.dataset.drawn, tip: find("tip").textContent,
               wide: document.documentElement.scrollWidth <= innerWidth };
    """
    _, result = open_page(page, script, width=390)
    assert result["drawn"] == "2"
    assert re.fullmatch(r"size ≤ \d+auto0\.9random0\.8", result["tip"])
    assert result["wide"]


def test_a_study_without_a_result_opens(tmp_path: Path) -> None:
    store = StudyStore(tmp_path / "empty")
    store.append("study", time=0.0, trials=2)
    for asked in (False, True):
        if asked:
            store.append("asked", trial=0, point={"x": 1})
            store.append("ended", trial=0, status="failed", error="OSError: no")
        page = write_report(load_all([tmp_path / "empty"]), tmp_path / "out").html
        dom, _ = open_page(page)
        assert "No trial has a result" in dom


def test_a_thousand_trials_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    page = write_report([write_study(tmp_path / "study", 1000)], tmp_path / "out").html
    assert page.stat().st_size < 1_000_000
    _, drawn = open_page(page, "return find('plot-curves').dataset.drawn;")
    assert drawn == "1000"


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1200, True), (400, False), (400, True)]
)
def test_screenshots_are_kept(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    """Leave screenshots in the folder ``$ARTIFACTS``, or in pytest's, for inspection."""
    folder = Path(os.environ.get("ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"report-{width}-{'dark' if dark else 'light'}.png"
    run_browser(page, f"--screenshot={picture}", width=width, dark=dark)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_pictures_of_the_documents_are_made(study: Study, tmp_path: Path) -> None:
    """A release copies both from ``$ARTIFACTS`` to ``docs/images``."""
    folder = Path(os.environ.get("ARTIFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    repeats = [
        write_study(tmp_path / f"{search}-{seed}", 16, search=search, seed=seed)
        for search, seeds in (("auto", (1, 2, 3)), ("random", (4, 5, 6)))
        for seed in seeds
    ]
    for name, studies, height in (("report", [study], 1250), ("comparison", repeats, 1050)):
        page = write_report(studies, tmp_path / name).html
        size, picture = f"--window-size=1280,{height}", folder / f"{name}.png"
        run_browser(page, size, "--hide-scrollbars", f"--screenshot={picture}")
        shown, committed = picture.read_bytes(), (IMAGES / picture.name).read_bytes()
        assert shown[:8] == committed[:8] == b"\x89PNG\r\n\x1a\n"
        assert shown[16:24] == committed[16:24]  # width and height


def test_a_reloaded_page_keeps_its_state(page: Path) -> None:
    _, result = open_page(
        page,
        """if (!sessionStorage.getItem("again")) {
            sessionStorage.setItem("again", "yes");
            find("filter").value = "status=stopped";
            find("filter").dispatchEvent(new Event("input"));
            document.querySelector('th[data-column="seconds"] button').click();
            document.querySelector('[data-against="epochs"]').click();
            find("filter").focus({ preventScroll: true });
            scrollTo({ top: 700, behavior: "instant" });
            location.reload();
            await new Promise(() => {});
        }
        return {
            filter: find("filter").value, count: find("count").textContent, top: scrollY,
            sort: document.querySelector('th[aria-sort="ascending"]').dataset.column,
            against: state.against, typing: document.activeElement.id,
        };""",
    )
    assert result["count"].split()[0] != "30"
    assert result == {
        "filter": "status=stopped", "count": result["count"], "top": 700, "sort": "seconds",
        "against": "epochs", "typing": "filter",
    }  # fmt: skip
