"""The web page: one file, of a template, its style, its scripts, the texts and the plots' data."""

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from raytune_yesno.report import sentences as prose
from raytune_yesno.report import summary as answers
from raytune_yesno.report.best_so_far import trace_best
from raytune_yesno.report.compare import (
    Difference,
    Group,
    compare_groups,
    count_corpora,
    group_studies,
    name_mean,
)
from raytune_yesno.report.early_stopping import EarlyStopping, measure_early_stopping
from raytune_yesno.report.importance import Importance
from raytune_yesno.report.payload import build_payload, embed
from raytune_yesno.study import Study, name_studies
from raytune_yesno.text import format_seconds, format_value

_SCRIPTS = ("core.js", "plots.js", "params.js", "table.js", "start.js")


def build_page(
    studies: Sequence[Study], importances: Sequence[Importance], refresh_s: float | None = None
) -> str:
    """Return the page's HTML.

    Args:
        studies: one or more.
        importances: of each.
        refresh_s: how often the browser shall read it again, of a study that runs.
    """
    names = name_studies(studies)
    groups = group_studies(studies)
    differences = compare_groups(groups)
    first = _find_best(studies)
    payload = build_payload(studies, names, groups, [found.names for found in importances])
    parts = {
        "title": escape(", ".join(names) if len(names) < 4 else f"{len(names)} studies"),
        "refresh": f'<meta http-equiv="refresh" content="{refresh_s:g}">' if refresh_s else "",
        "style": _read("page.css"),
        "chooser": _chooser(names, first),
        "compare": _comparison(studies, names, groups, differences),
        "data": embed({**payload, "first": first}),
        "script": "\n".join(_read(script) for script in _SCRIPTS),
    }
    sections: dict[str, list[str]] = {}
    for study, importance in zip(studies, importances, strict=True):
        spent = measure_early_stopping(study)
        rows = {
            "glance": _glance(
                [
                    answers.answer_importance(importance),
                    answers.answer_stopping(spent),
                    answers.answer_more_trials(study),
                    answers.answer_comparison(groups, differences, study.metric, study.mode),
                    answers.answer_time(study),
                ]
            ),
            "outcome": _outcome(study),
            "curves": _say(prose.describe_curves(study)),
            "progress": _say(prose.describe_progress(study, trace_best(study)["trials"])),
            "importance": _say(prose.describe_importance(importance)) + _bars(importance),
            "spending": _say(prose.describe_early_stopping(study, spent)) + _rungs(study, spent),
            "time": _say(prose.describe_efficiency(study, study.efficiency)) + _split(study),
            "failures": _failures(study),
        }
        for key, html in rows.items():
            sections.setdefault(key, []).append(html)
    for key, blocks in sections.items():
        parts[key] = "\n".join(
            f'<div class="of-study" data-study="{index}"{" hidden" * (index != first)}>'
            f"{block}</div>"
            for index, block in enumerate(blocks)
        )
    page = _read("page.html")
    # One pass: what stands in the data is never taken for a place of the template.
    pieces = page.split("{{")
    return pieces[0] + "".join(
        parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces[1:])
    )


def _read(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _say(text: str) -> str:
    return f'<p class="say">{escape(text)}</p>'


def _chooser(names: Sequence[str], first: int) -> str:
    if len(names) == 1:
        return ""
    options = "".join(
        f'<option value="{index}"{" selected" * (index == first)}>{escape(name)}</option>'
        for index, name in enumerate(names)
    )
    return f'<label class="choose">Study <select id="study">{options}</select></label>'


def _glance(found: Sequence[answers.Answer]) -> str:
    rows = "".join(
        f'<div><dt><a href="#{section}">{escape(question)}</a></dt><dd>{escape(text)}</dd></div>'
        for question, text, section in found
    )
    return f'<dl class="glance">{rows}</dl>'


def _outcome(study: Study) -> str:
    """What was asked and what came out."""
    best, asked = study.best, study.asked
    html = [_say(prose.describe_state(study))]
    if best is None:
        html.append(_say("No trial has come to a result yet."))
    else:
        notes = {study.metric: f"best, trial {best.number}"}
        cards = [
            (
                metric.name,
                metric.show(best.metrics[metric.name]),
                notes.get(metric.name, f"at epoch {best.metrics['epoch']}"),
            )
            for metric in (study.find_metric(study.metric), *study.metrics)
            if best.metrics.get(metric.name) is not None
        ]
        cards = list(dict.fromkeys(cards))
        html.append(
            '<div class="cards">'
            + "".join(
                f'<div class="card"><span>{escape(name)}</span><b>{escape(shown)}</b>'
                f"<small>{escape(note)}</small></div>"
                for name, shown, note in cards
            )
            + "</div>"
        )
        if figure := prose.describe_test(study.refit, study.task):
            html.append(f'<p class="say"><strong>Test:</strong> {escape(figure)}.</p>')
        rows = "".join(
            f"<div><dt>{escape(key)}</dt><dd>{escape(format_value(value))}</dd></div>"
            for key, value in best.best_point.items()
        )
        html.append(f'<h3>Best config</h3><dl class="config">{rows}</dl>')
    facts = {
        "judged by": "; ".join(prose.describe_objective(study)),
        "search": asked.get("search"),
        "scheduler": asked.get("scheduler"),
        "seed": asked.get("config", {}).get("seed"),
        "began knowing": _describe_warm_start(study),
        "slots": study.num_slots,
        "data": study.data,
        "corpus": asked.get("corpus", {}).get("source"),
        "fingerprint": asked.get("corpus", {}).get("fingerprint"),
    }
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    versions = ", ".join(f"{name} {v}" for name, v in asked.get("versions", {}).items())
    html.append(
        f'<h3>Asked</h3><dl class="config">{rows}</dl>'
        + (f'<p class="small">With {escape(versions)}.</p>' if versions else "")
    )
    train, tune, file = prose.describe_commands(study)
    if train:
        html.append("<h3>Train the best config again</h3>" + _code(train))
    if tune:
        html.append(
            "<details><summary>Make the study again</summary>"
            f"<p>Save as <code>study.yaml</code>:</p>{_code(file)}{_code(tune)}</details>"
        )
    if study.problems:
        rows = "".join(f"<li>{escape(problem)}</li>" for problem in study.problems[:20])
        more = len(study.problems) - 20
        rows += f"<li>and {more} more</li>" if more > 0 else ""
        html.append(f"<details open><summary>Left out</summary><ul>{rows}</ul></details>")
    return "".join(html)


def _describe_warm_start(study: Study) -> str:
    known = (study.asked.get("warm_start") or {}).get("observations")
    return f"{len(known)} trials of other studies" if known else ""


def _code(text: str) -> str:
    return (
        '<div class="code"><button type="button" class="copy">Copy</button>'
        f'<pre tabindex="0">{escape(text)}</pre></div>'
    )


def _comparison(
    studies: Sequence[Study],
    names: Sequence[str],
    groups: Sequence[Group],
    differences: Sequence[Difference],
) -> str:
    if len(studies) == 1:
        return ""
    rows = []
    for study, name in zip(studies, names, strict=True):
        best = study.best
        test = prose.describe_test_briefly(study.refit)
        cells = [
            name,
            study.asked.get("search", ""),
            study.asked.get("scheduler", ""),
            study.asked.get("config", {}).get("seed", ""),
            len(study.trial_list),
            sum(len(trial.epochs) for trial in study.trial_list),
            format_seconds(study.end_time - study.asked["time"]),
            study.find_metric(study.metric).show(best.metrics[study.metric]) if best else "–",
            test or "–",
        ]
        rows.append(cells)
    heads = ("study", "search", "scheduler", "seed", "trials", "epochs", "time", "best", "test")
    metric, mode = studies[0].metric, studies[0].mode
    parts = [_say(prose.describe_comparison(groups, metric, mode))]
    if (corpora := count_corpora(studies)) > 1:
        parts.append(_say(f"They were judged on {corpora} corpora: their figures do not compare."))
    if any(len(group.members) > 1 for group in groups):
        lines = [
            (
                group.label,
                len(group.members),
                "–" if group.mean is None else f"{group.mean:.4g}",
                "{:.4g} to {:.4g}".format(*group.interval) if group.interval else "–",
            )
            for group in groups
        ]
        parts.append(
            _table(
                ("search", "studies", f"best {metric}, {name_mean(groups)}", "95 % interval"), lines
            )
        )
    if differences:
        pairs = [
            (
                f"{each.first} – {each.second}",
                str(each),
                f"{each.p:.2g}",
                f"{each.adjusted:.2g}",
                f"{each.least_p:.2g}",
                prose.judge_difference(each),
            )
            for each in differences
        ]
        pair_heads = ("pair", "difference", "p", "p of all pairs", "least possible p", "luck?")
        parts.append("<h3>Is the difference luck?</h3>" + _table(pair_heads, pairs))
    parts.append("<h3>Each study</h3>" + _table(heads, rows))
    title = "<h2>Which search was better</h2>"
    return f'<section id="compare">{title}{"".join(parts)}</section>'


def _find_best(studies: Sequence[Study]) -> int:
    """Return the place of the study that came to the best result."""
    scores = [
        study.best.score(study.best.best_epoch or {}) if study.best else (math.inf, 0.0)
        for study in studies
    ]
    return scores.index(min(scores))


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _bars(found: Importance) -> str:
    if found.refused:
        return ""
    most = max(mean + spread for mean, spread in zip(found.means, found.spreads, strict=True))
    most = max(most, found.luck)
    rows = []
    for name, mean, spread in zip(found.names, found.means, found.spreads, strict=True):
        low, high = max(0.0, mean - spread), max(0.0, mean + spread)
        rows.append(
            f'<div class="bar"><span class="name">{escape(name)}</span><span class="track">'
            f'<i style="width:{_percent(max(0.0, mean), most)}"></i><u style="left:'
            f'{_percent(low, most)};width:{_percent(high - low, most)}"></u>'
            f'<s style="left:{_percent(found.luck, most)}"></s></span>'
            f'<span class="figure">{round(mean, 3) + 0.0:.3f} ± {spread:.3f}</span></div>'
        )
    return f'<div class="bars" id="importance-bars">{"".join(rows)}</div>'


def _rungs(study: Study, spent: EarlyStopping) -> str:
    if not spent.rungs:
        return ""

    def show(value: float | None, form: str = ".4g") -> str:
        return "–" if value is None else format(value, form)

    rows = [
        (
            rung.epoch,
            rung.reached,
            rung.stopped,
            rung.reached - rung.stopped,
            show(rung.best),
            show(rung.worst_kept),
            show(rung.agreement, ".2f")
            + (f" ({rung.judged})" if rung.agreement is not None else ""),
        )
        for rung in spent.rungs
    ]
    heads = ("epoch", "reached", "stopped", "went on", f"best {study.metric}", "worst that went on")
    return _table((*heads, "agrees with the end (trials)"), rows)


def _split(study: Study) -> str:
    efficiency = study.efficiency
    if efficiency is None:
        return ""
    shares = {cause: max(0.0, getattr(efficiency, cause)) for cause in prose.CAUSES}
    parts = "".join(
        f'<i class="cause-{cause}" style="width:{_percent(share, 1)}"></i>'
        for cause, share in shares.items()
    )
    legend = "".join(
        f'<li><i class="cause-{cause}"></i>{prose.CAUSES[cause]} <b>{share:.1%}</b></li>'
        for cause, share in shares.items()
    )
    return f'<div class="split" aria-hidden="true">{parts}</div><ul class="legend">{legend}</ul>'


def _failures(study: Study) -> str:
    failed = [trial for trial in study.trial_list if trial.status in ("failed", "diverged")]
    if not failed:
        return _say("No trial failed or diverged.")
    causes: dict[str, list[int]] = {}
    for trial in failed:
        cause = trial.error or ("the loss is no longer a number" * (trial.status == "diverged"))
        causes.setdefault(cause or "no cause was recorded", []).append(trial.number)
    rows = [
        (len(numbers), cause, ", ".join(map(str, numbers[:12])) + " …" * (len(numbers) > 12))
        for cause, numbers in sorted(causes.items(), key=lambda item: -len(item[1]))
    ]
    text = f"{len(failed)} of {len(study.trial_list)} trials failed or diverged, for these causes."
    return _say(text) + _table(("trials", "cause", "which"), rows[:50])


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole > 0 else 0:.2f}%"
