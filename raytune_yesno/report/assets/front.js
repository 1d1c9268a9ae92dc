// Several objectives: the front, and its hypervolume.
const frontOf = (study) => DATA.fronts[DATA.studies.indexOf(study)];
const objectiveValues = (name) => name === S.metric ? S.value : S.others.find((metric) => metric.name === name)?.values || [];

function buildFront() {
  if (!find("plot-front")) return;
  const [x, y] = [find("front-x"), find("front-y")];
  let spots = [];
  const plot = new Plot(find("plot-front"), {
    height: 400,
    draw(ctx, width, height) {
      spots = [];
      const front = frontOf(S);
      if (!front) return 0;
      const [across, up] = [x, y].map((select) => front.objectives[select.value]);
      const [us, vs] = [objectiveValues(across.name), objectiveValues(up.name)];
      const box = { left: 58, right: width - 12, top: 24, bottom: height - 44 };
      const xs = rawMetricScale(us, box.left, box.right);
      const ys = Object.assign(rawMetricScale(vs, box.bottom, box.top), { percent: isPercent(up.name) });
      frame(ctx, box, xs, ys, across.name + (xs.log ? ", logarithmic" : ""), up.name + (ys.log ? ", logarithmic" : ""));
      const place = (trial) => [xs(us[trial]), ys(vs[trial])];
      const known = (trial) => typeof us[trial] === "number" && typeof vs[trial] === "number";
      const members = front.members.filter(known), onFront = new Set(members);
      if (front.objectives.length === 2) { // between two members, the front has the worse value of both
        ctx.strokeStyle = COLOUR.good;
        ctx.lineWidth = 1.6;
        ctx.beginPath();
        const ordered = [...members].sort((a, b) => us[a] - us[b]);
        ordered.forEach((trial, k) => {
          const [a, b] = place(trial);
          if (k) {
            const [before, beside] = place(ordered[k - 1]);
            ctx.lineTo(...(across.mode === "min" ? [a, beside] : [before, b]));
          }
          ctx.lineTo(a, b);
        });
        ctx.stroke();
      }
      const trials = us.map((_, trial) => trial).filter((trial) => known(trial) && !onFront.has(trial));
      const many = trials.length > 300;
      for (const trial of [...trials, ...members]) {
        const [a, b] = place(trial), chosen = trial === S.best;
        const colour = chosen ? COLOUR.best : onFront.has(trial) ? COLOUR.good : COLOUR.stopped;
        ctx.globalAlpha = onFront.has(trial) ? 1 : 0.6;
        ctx.fillStyle = ctx.strokeStyle = colour;
        ctx.lineWidth = 1.4;
        ctx.beginPath();
        ctx.arc(a, b, chosen ? 7 : onFront.has(trial) ? 5 : many ? 2 : 3.2, 0, 7);
        if (front.feasible[trial]) ctx.fill(); else ctx.stroke();
        spots.push(trial, a, b);
      }
      ctx.globalAlpha = 1;
      find("front-corner").textContent = (up.mode === "min" ? "bottom" : "top") + " " + (across.mode === "min" ? "left" : "right");
      return spots.length / 3;
    },
    light(ctx, trial) {
      ctx.strokeStyle = COLOUR.ink;
      ctx.lineWidth = 2;
      for (let k = 0; k < spots.length; k += 3) {
        if (spots[k] !== trial) continue;
        ctx.beginPath(); ctx.arc(spots[k + 1], spots[k + 2], 9, 0, 7); ctx.stroke();
      }
    },
    near: (a, b) => nearest(spots, a, b, 24),
  });
  plot.prepare = () => {
    const front = frontOf(S);
    if (!front) return;
    for (const [select, chosen] of [[x, 1], [y, 0]]) {
      select.replaceChildren(...front.objectives.map((each, k) => Object.assign(make("option", each.name), { value: k })));
      select.value = String(chosen);
    }
  };
  for (const select of [x, y]) select.addEventListener("change", () => plot.render());
  buildVolume();
}

// What the studies of each search attain: half of them (thick), the best and the worst one (thin).
function buildAttained() {
  if (!find("plot-attained") || !DATA.attainment) return;
  const { objectives: [up, across], searches } = DATA.attainment;
  const levels = [["best", 1, []], ["worst", 1, [5, 4]], ["median", 2.8, []]];
  // The worst value between two members holds on the side on which only one of them is allowed.
  const reached = (pairs, x) => {
    const inside = pairs.filter((pair) => across.mode === "min" ? pair[1] <= x : pair[1] >= x).map((pair) => pair[0]);
    return inside.length ? Math[up.mode === "min" ? "min" : "max"](...inside) : null;
  };
  const text = (metric, value) => value === null ? "–" : metric.percent ? Number((100 * value).toFixed(1)) + "%" : show(Number(value.toPrecision(4)));
  let xs;
  new Plot(find("plot-attained"), {
    height: 320,
    draw(ctx, width, height) {
      const all = searches.flatMap((search) => levels.flatMap(([level]) => search[level]));
      const box = { left: 58, right: width - 12, top: 24, bottom: height - 44 };
      xs = rawMetricScale(all.map((pair) => pair[1]), box.left, box.right);
      const ys = Object.assign(rawMetricScale(all.map((pair) => pair[0]), box.bottom, box.top), { percent: up.percent });
      frame(ctx, box, xs, ys, across.name + (xs.log ? ", logarithmic" : ""), up.name + (ys.log ? ", logarithmic" : ""));
      const end = across.mode === "min" ? box.right : box.left;
      searches.forEach((search, k) => {
        ctx.strokeStyle = ctx.fillStyle = COLOUR.series[k % 8];
        for (const [level, size, dashes] of levels) {
          if (level !== "median" && search.studies < 2) continue;
          const corners = search[level].map(([v, u]) => [xs(u), ys(v)]);
          if (!corners.length) continue;
          corners.sort((a, b) => across.mode === "min" ? a[0] - b[0] : b[0] - a[0]);
          ctx.lineWidth = size;
          ctx.setLineDash(dashes);
          ctx.beginPath();
          steps(ctx, [...corners, [end, corners[corners.length - 1][1]]]);
          ctx.stroke();
          ctx.setLineDash([]);
          if (level === "median") for (const [x, y] of corners) { ctx.beginPath(); ctx.arc(x, y, 3, 0, 7); ctx.fill(); }
        }
      });
      return searches.length;
    },
    tip(a) {
      const share = (a - xs(xs.low)) / (xs(xs.high) - xs(xs.low));
      if (share < 0 || share > 1) return null;
      const x = xs.log ? xs.low * (xs.high / xs.low) ** share : xs.low + share * (xs.high - xs.low);
      return [across.name + (across.mode === "min" ? " ≤ " : " ≥ ") + text(across, x), ...searches.map((search) => {
        const [best, worst, median] = levels.map(([level]) => text(up, reached(search[level], x)));
        return [search.label, search.studies > 1 ? `${median} (${best} – ${worst})` : median];
      })];
    },
  });
  find("attained-legend").replaceChildren(...searches.map((search, k) => {
    const item = make("li", search.label + (search.studies > 1 ? `: half of ${search.studies} studies (thin: the best, dashed: all)` : "")), mark = make("i");
    mark.style.background = `var(--c${k % 8})`;
    item.prepend(mark);
    return item;
  }));
}

function buildVolume() {
  let xs, against = "trials";
  const lines = DATA.studies.map((study, k) => [study.name, DATA.fronts[k]?.volume, COLOUR.series[k % 8]]).filter(([, volume]) => volume);
  const plot = new Plot(find("plot-volume"), {
    height: 260,
    draw(ctx, width, height) {
      const box = { left: 58, right: width - 12, top: 24, bottom: height - 44 };
      const all = lines.flatMap(([, volume]) => volume[against]);
      xs = buildScale(0, Math.max(1, ...all.map((p) => p[0])), box.left, box.right, false, true);
      const ys = buildScale(0, Math.max(1e-12, ...all.map((p) => p[1])) * 1.05, box.bottom, box.top);
      frame(ctx, box, xs, ys, against === "trials" ? "trials that have ended" : "epochs of the trials that have ended", "hypervolume");
      lines.forEach(([, volume, colour]) => {
        ctx.strokeStyle = colour;
        ctx.lineWidth = 2.2;
        ctx.beginPath();
        steps(ctx, [[0, 0], ...volume[against]].map(([a, b]) => [xs(a), ys(b)]));
        ctx.stroke();
      });
      return lines.length;
    },
    tip(a) {
      const share = (a - xs(xs.low)) / (xs(xs.high) - xs(xs.low)), position = xs.low + share * (xs.high - xs.low);
      if (share < 0 || share > 1) return null;
      return [show(Math.round(position)) + " " + against, ...lines.map(([name, volume]) => {
        const before = volume[against].filter((p) => p[0] <= position);
        return [name, show(Number((before.length ? before[before.length - 1][1] : 0).toPrecision(4)))];
      })];
    },
  });
  for (const button of document.querySelectorAll("[data-volume]")) {
    button.addEventListener("click", () => {
      against = button.dataset.volume;
      for (const other of document.querySelectorAll("[data-volume]")) other.setAttribute("aria-pressed", String(other === button));
      plot.render();
    });
  }
}
