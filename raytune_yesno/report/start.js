// Begin: build all, draw what is seen first, then the rest without holding up the page.
let turn = 0;
function renderAll() {
  const mine = ++turn, queue = [...plots];
  document.documentElement.dataset.ready = "false";
  const next = () => {
    if (mine !== turn) return; // another drawing has begun
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

readColours();
chooseStudy(DATA.first);
buildCurves();
buildProgress();
buildParallel();
buildPair();
buildTimeline();
buildTable();
showStudy(DATA.first);
find("study")?.addEventListener("change", (event) => showStudy(Number(event.target.value)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); renderAll(); });
let width = innerWidth;
window.addEventListener("resize", () => {
  if (width !== innerWidth) { width = innerWidth; renderAll(); } // a phone's bars change the height alone
});
