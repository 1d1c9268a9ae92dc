// Plots over hyperparameters: parallel coordinates, slices, pairs.
function axisScale(axis, from, to) {
  if (axis.kind !== "choice") return buildScale(axis.low, axis.high, from, to, axis.kind === "log", axis.whole);
  const count = axis.options.length, step = (to - from) / count;
  const scale = (index) => from + (index + 0.5) * step;
  const names = axis.options.map((name) => name.length > 12 ? name.slice(0, 11) + "…" : name);
  return Object.assign(scale, { low: 0, high: count - 1, ticks: names.map((_, k) => k), names, step });
}
// Where two discrete values meet, dots are spread within the band of the choice: a function of the
// trial's index. A number always lies at its value.
const spread = (trial, scale) => scale.step ? (((trial * 0.618034) % 1) - 0.5) * scale.step * 0.6 : 0;

const MAX_AXES = 8; // shown at first
function buildParallel() {
  let scales, at, left, gap;
  const height = 400;
  const yOf = (trial, k) => {
    const value = k < S.shown.length ? S.points[S.shown[k]][trial] : S.value[trial];
    return value === null ? height - 24 : scales[k](value);
  };
  const path = (ctx, trial) => {
    ctx.beginPath();
    for (let k = 0; k < scales.length; k++) ctx.lineTo(at(k), yOf(trial, k));
    ctx.stroke();
  };
  const plot = new Plot(find("plot-parallel"), {
    height,
    draw(ctx, width) {
      const [top, bottom] = [92, height - 40];
      left = 34;
      scales = S.shown.map((k) => axisScale(S.axes[k], bottom, top));
      scales.push(metricScale(S.value, S.mode === "max" ? bottom : top, S.mode === "max" ? top : bottom));
      gap = (width - left - 100) / Math.max(1, scales.length - 1);
      at = (k) => left + k * gap;
      const order = [...S.order].reverse(), number = order.length;
      ctx.lineWidth = number > 300 ? 0.6 : 1.1;
      ctx.globalAlpha = 0.85;
      for (const trial of order) {
        if (number > 300) ctx.globalAlpha = (number > 3000 ? 0.3 : 0.6) * (1 - 0.9 * Math.sqrt(S.rank[trial]));
        ctx.strokeStyle = colourOf(trial);
        path(ctx, trial);
      }
      ctx.globalAlpha = 1;
      if (S.best !== null) {
        ctx.strokeStyle = COLOUR.best;
        ctx.lineWidth = 2.6;
        path(ctx, S.best);
      }
      scales.forEach((scale, k) => {
        ctx.strokeStyle = COLOUR.soft;
        ctx.lineWidth = 1;
        ctx.beginPath(); ctx.moveTo(at(k), top); ctx.lineTo(at(k), bottom); ctx.stroke();
        ctx.textAlign = "left";
        ctx.textBaseline = "middle";
        const every = scale.names ? Math.ceil(13 / Math.abs(scale.step)) : 1; // labels do not overlap
        const ticks = every > 1 ? scale.ticks.filter((_, j) => j % every === 0) : scale.names || scale.ticks.length <= 6 ? scale.ticks : scale.ticks.filter((_, j) => j % 2 === 0);
        for (const tick of ticks) {
          const name = scale.names ? scale.names[tick] : scale.percent ? show(Number((100 * tick).toPrecision(6))) + "%" : showTick(tick), y = scale(tick);
          ctx.lineWidth = 3;
          ctx.strokeStyle = COLOUR.card;
          ctx.strokeText(name, at(k) + 5, y);
          ctx.fillStyle = COLOUR.soft;
          ctx.fillText(name, at(k) + 5, y);
        }
        ctx.save();
        ctx.translate(at(k), top - 10);
        ctx.rotate(-0.6);
        ctx.fillStyle = COLOUR.ink;
        const title = k < S.shown.length ? S.axes[S.shown[k]].name : S.metric;
        ctx.fillText(title.length > 20 ? title.slice(0, 19) + "…" : title, 0, 0);
        ctx.restore();
      });
      return number;
    },
    light(ctx, trial) {
      ctx.strokeStyle = COLOUR.ink;
      ctx.lineWidth = 2.4;
      path(ctx, trial);
    },
    near(x, y) {
      const k = Math.max(0, Math.min(scales.length - 2, Math.floor((x - left) / gap))), share = (x - at(k)) / gap;
      const next = Math.min(k + 1, scales.length - 1); // without a varied parameter, the metric's axis is the only one
      let [found, least] = [null, 16];
      for (const trial of S.order) {
        const far = Math.abs(yOf(trial, k) * (1 - share) + yOf(trial, next) * share - y);
        if (far < least) [found, least] = [trial, far];
      }
      return found;
    },
  });
  const resize = () => { plot.host.style.minWidth = 140 + 84 * S.shown.length + "px"; };
  plot.prepare = () => {
    S.shown ||= S.important.slice(0, MAX_AXES);
    resize();
    find("axes").hidden = S.axes.length < 2;
    find("axes-list").replaceChildren(...S.important.map((k) => {
      const label = make("label"), box = make("input");
      Object.assign(box, { type: "checkbox", checked: S.shown.includes(k) });
      box.addEventListener("change", () => {
        const wanted = new Set(box.checked ? [...S.shown, k] : S.shown.filter((each) => each !== k));
        S.shown = S.important.filter((each) => wanted.has(each));
        resize();
        plot.render();
      });
      label.append(box, " " + S.axes[k].name);
      return label;
    }));
  };
}

function scatter(host, height, small, axes) {
  let spots = [];
  return new Plot(host, {
    height,
    draw(ctx, width, height) {
      const [x, y] = axes();
      const left = y && y.kind === "choice" ? 84 : small ? 46 : 56;
      const box = { left, right: width - 10, top: small ? 20 : 26, bottom: height - (small ? 36 : 44) };
      if (!x) return 0;
      const jitter = y && (x.kind === "choice" || y.kind === "choice") && (x.kind === "choice" || x.whole) && (y.kind === "choice" || y.whole);
      if (!small) find("pair-note").hidden = !jitter;
      if (x.kind === "choice" && !fits(ctx, axisScale(x, box.left, box.right))) box.bottom -= 44;
      const xs = axisScale(x, box.left + (x.kind === "choice" ? 0 : 4), box.right - (x.kind === "choice" ? 0 : 4));
      const ys = y ? axisScale(y, box.bottom - 4, box.top) : metricScale(S.value, box.bottom - 4, box.top);
      frame(ctx, box, xs, ys, x.name, y ? y.name : S.metric, small);
      for (const [scale, flat] of [[xs, true], [ys, false]]) { // a band for each choice
        if (!scale.step) continue;
        ctx.fillStyle = COLOUR.grid;
        ctx.globalAlpha = 0.6;
        scale.ticks.filter((k) => k % 2 === 0).forEach((k) => {
          const edge = scale(k) - scale.step / 2;
          if (flat) ctx.fillRect(edge, box.top, scale.step, box.bottom - box.top);
          else ctx.fillRect(box.left, edge, box.right - box.left, scale.step);
        });
        ctx.globalAlpha = 1;
      }
      const [across, up] = [S.columns.get(x.name), y ? S.columns.get(y.name) : S.value];
      const many = S.order.length > 300, radius = small ? (many ? 1.3 : 2.6) : many ? 2.2 : 4.5;
      const dots = [];
      for (const trial of [...S.order].reverse()) {
        if (across[trial] === null || up[trial] === null) continue;
        const [a, b] = [xs(across[trial]) + (jitter ? spread(trial, xs) : 0), ys(up[trial]) + (jitter ? spread(trial * 1.7, ys) : 0)];
        ctx.fillStyle = trial === S.best ? COLOUR.best : colourOf(trial);
        if (S.order.length > 2000) ctx.fillRect(a - radius, b - radius, 2 * radius, 2 * radius);
        else { ctx.beginPath(); ctx.arc(a, b, trial === S.best ? radius * 1.6 : radius, 0, 7); ctx.fill(); }
        dots.push(trial, a, b);
      }
      spots = Float32Array.from(dots);
      return dots.length / 3;
    },
    light(ctx, trial) {
      ctx.strokeStyle = COLOUR.ink;
      ctx.lineWidth = 2;
      for (let k = 0; k < spots.length; k += 3) {
        if (spots[k] !== trial) continue;
        ctx.beginPath(); ctx.arc(spots[k + 1], spots[k + 2], 6, 0, 7); ctx.stroke();
      }
    },
    near: (x, y) => nearest(spots, x, y, 20),
  });
}

function buildSlices() {
  const grid = find("slices-grid");
  for (const old of grid.children) plots.splice(plots.findIndex((plot) => plot.host === old), 1);
  grid.replaceChildren();
  S.important.forEach((k) => {
    const axis = S.axes[k];
    const host = make("div", undefined, "plot");
    host.dataset.label = S.metric + " against " + axis.name;
    host.id = "slice-" + k;
    grid.append(host);
    scatter(host, 190, true, () => [axis, null]);
  });
}

function buildPair() {
  const [x, y] = [find("pair-x"), find("pair-y")];
  const plot = scatter(find("plot-pair"), 380, false, () => [S.axes[x.value], S.axes[y.value]]);
  plot.prepare = () => {
    find("pairs").hidden = S.axes.length < 2;
    for (const [select, chosen] of [[x, S.important[0]], [y, S.important[Math.min(1, S.axes.length - 1)]]]) {
      select.replaceChildren(...S.axes.map((axis, k) => Object.assign(make("option", axis.name), { value: k })));
      select.value = String(chosen);
    }
  };
  for (const select of [x, y]) select.addEventListener("change", () => plot.render());
}
