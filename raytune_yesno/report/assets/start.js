// Start: build all plots, then draw them from top to bottom without blocking the page.
let turn = 0;
function renderAll() {
  const mine = ++turn, queue = [...plots];
  document.documentElement.dataset.ready = "false";
  const next = () => {
    if (mine !== turn) return; // a newer call draws instead
    const until = performance.now() + 12;
    do {
      const plot = queue.shift();
      if (!plot) {
        document.documentElement.dataset.ready = "true";
        document.documentElement.dataset.readyMs = Math.round(performance.now());
        return;
      }
      plot.render();
      document.documentElement.dataset.firstPlotMs ??= Math.round(performance.now());
    } while (performance.now() < until);
    setTimeout(next, 0);
  };
  next();
}

function showStudy(index) {
  chooseStudy(index);
  for (const block of document.querySelectorAll(".of-study")) block.hidden = Number(block.dataset.study) !== index;
  buildSlices();
  for (const plot of plots) if (plot.prepare) plot.prepare();
  buildHeads();
  fillTable();
  renderAll();
}

// A page of a running study reloads itself: keep filter, sort order, selections and position.
const KEY = "raytune-yesno:" + location.pathname;
function keepState() {
  const filter = find("filter");
  try {
    sessionStorage.setItem(KEY, JSON.stringify({
      study: S.name, against: state.against, filter: filter.value, shown: table.shown,
      sort: table.columns[table.sort].name, down: table.down, top: scrollY, hash: location.hash,
      typing: document.activeElement === filter ? filter.selectionStart : null,
      pair: ["pair-x", "pair-y"].map((id) => find(id).selectedOptions[0]?.textContent),
    }));
  } catch { /* storage may be disabled */ }
}
function recallState() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(KEY)); } catch { /* storage may be disabled */ }
  if (!kept) return;
  const study = DATA.studies.findIndex((each) => each.name === kept.study);
  if (study >= 0 && study !== state.study) {
    find("study").value = String(study);
    showStudy(study);
  }
  document.querySelector(`[data-against="${kept.against}"]`)?.click();
  ["pair-x", "pair-y"].forEach((id, k) => {
    const option = [...find(id).options].find((each) => each.textContent === kept.pair[k]);
    if (option) find(id).value = option.value;
  });
  renderAll();
  const sort = table.columns.findIndex((column) => column.name === kept.sort);
  if (sort >= 0) [table.sort, table.down] = [sort, kept.down];
  table.shown = kept.shown;
  find("filter").value = kept.filter;
  fillTable();
  if (kept.typing !== null) {
    find("filter").focus({ preventScroll: true });
    find("filter").setSelectionRange(kept.typing, kept.typing);
  }
  if (kept.hash === location.hash) scrollTo({ top: kept.top, behavior: "instant" });
}
history.scrollRestoration = "manual";
window.addEventListener("pagehide", keepState);

readColours();
chooseStudy(DATA.first);
buildCurves();
buildProgress();
buildFront();
buildAttained();
buildParallel();
buildPair();
buildTimeline();
buildTable();
showStudy(DATA.first);
recallState();
find("study")?.addEventListener("change", (event) => showStudy(Number(event.target.value)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); renderAll(); });
let width = innerWidth;
window.addEventListener("resize", () => {
  if (width !== innerWidth) { width = innerWidth; renderAll(); } // a phone's bars only change the height
});
