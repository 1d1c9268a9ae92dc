// The table of trials: sorted, filtered, extended page by page.
const ROWS = 100;
const table = { sort: null, down: false, shown: ROWS, columns: [] };

function tableColumns() {
  const plain = (name, values) => ({ name, of: (trial) => values[trial], percent: isPercent(name) });
  return [
    plain("trial", S.number),
    { name: "status", of: (trial) => DATA.statuses[S.status[trial]] },
    plain(S.metric, S.value),
    ...S.others.map((m) => plain(m.name, m.values)),
    plain("epochs", S.epochs), plain("best_epoch", S.best_epoch), plain("seconds", S.seconds),
    ...S.axes.map((axis, k) => ({ name: axis.name, of: (trial) => valueOf(trial, k) })),
    ...(Object.keys(S.errors).length ? [{ name: "error", of: (trial) => S.errors[trial] ?? null }] : []),
  ];
}

const showCell = (column, trial) => column.percent ? showMetric(column.name, column.of(trial)) : show(column.of(trial));

function matches(trial, terms) {
  return terms.every((term) => {
    const [, name, sign, wanted] = term.match(/^([^<>=]+)(<=|>=|=|<|>)(.+)$/) || [];
    const column = table.columns.find((c) => c.name.toLowerCase() === name);
    if (!column) return table.columns.some((c) => showCell(c, trial).toLowerCase().includes(term));
    const value = column.of(trial);
    if (value === null) return false;
    const [a, b] = [Number(value), wanted.endsWith("%") ? Number(wanted.slice(0, -1)) / 100 : Number(wanted)];
    if (sign === "=") return typeof value === "number" && !Number.isNaN(b) ? a === b || showCell(column, trial) === wanted : show(value).toLowerCase() === wanted;
    return sign === "<" ? a < b : sign === ">" ? a > b : sign === "<=" ? a <= b : a >= b;
  });
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  const [x, y] = [a, b].map((each) => typeof each === "string" && each.trim() === "" ? NaN : Number(each));
  return !Number.isNaN(x) && !Number.isNaN(y) ? x - y : String(a).localeCompare(String(b), undefined, { numeric: true });
}

function fillTable() {
  const terms = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const column = table.columns[table.sort];
  const sign = table.down ? -1 : 1;
  const rows = S.number.map((_, trial) => trial).filter((trial) => matches(trial, terms)).sort((a, b) => {
    const [x, y] = [column.of(a), column.of(b)];
    return x === null || y === null ? compare(x, y) : sign * compare(x, y) || a - b;
  });
  const body = find("trials").tBodies[0];
  body.replaceChildren(...rows.slice(0, table.shown).map((trial) => {
    const row = make("tr", undefined, trial === S.best ? "is-best" : "");
    row.dataset.trial = trial;
    const button = make("button", "copy", "copy");
    button.type = "button";
    button.dataset.trial = trial;
    button.setAttribute("aria-label", "copy the config of trial " + S.number[trial]);
    const first = make("td");
    first.append(button);
    row.append(first, ...table.columns.map((c) => {
      const value = c.of(trial), cell = make("td", showCell(c, trial));
      if (typeof value === "string" && value.length > 30) cell.title = value;
      return cell;
    }));
    return row;
  }));
  find("count").textContent = rows.length + " of " + S.number.length + " trials";
  find("more").hidden = rows.length <= table.shown;
  find("trials").tHead.querySelectorAll("th[data-column]").forEach((head, k) => {
    head.setAttribute("aria-sort", k !== table.sort ? "none" : table.down ? "descending" : "ascending");
  });
}

function buildHeads() {
  table.columns = tableColumns();
  table.sort = 2;
  table.down = S.mode === "max";
  const row = make("tr");
  row.append(make("th", "copy"), ...table.columns.map((column, k) => {
    const head = make("th"), button = make("button", column.name);
    head.scope = "col";
    head.dataset.column = column.name;
    button.type = "button";
    button.addEventListener("click", () => {
      table.down = table.sort === k && !table.down;
      table.sort = k;
      fillTable();
    });
    head.append(button);
    return head;
  }));
  find("trials").tHead.replaceChildren(row);
}

function buildTable() {
  find("filter").addEventListener("input", () => { table.shown = ROWS; fillTable(); });
  find("more").addEventListener("click", () => { table.shown += 5 * ROWS; fillTable(); });
  const body = find("trials").tBodies[0];
  body.addEventListener("pointerover", (event) => {
    const row = event.target.closest("tr");
    if (row) { lightUp(Number(row.dataset.trial), 0, 0); showTip(null); }
  });
  body.addEventListener("pointerleave", () => lightUp(null));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const trial = button.dataset.trial;
    copyText(trial === undefined ? button.parentElement.querySelector("pre").textContent : JSON.stringify(configOf(Number(trial)), null, 1), button);
  });
}
