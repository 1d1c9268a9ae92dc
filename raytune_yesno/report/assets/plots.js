// Plots over epochs and time: learning curves, best so far, timeline.
function curveOf(trial) {
  const [values, epochs] = S.curves[trial];
  return { values, epochs: epochs || null };
}

function buildCurves() {
  let xs, ys, spots;
  const path = (ctx, trial) => {
    const { values, epochs } = curveOf(trial);
    ctx.beginPath();
    values.forEach((value, k) => ctx.lineTo(xs(epochs ? epochs[k] : k + 1), ys(value)));
    if (values.length === 1) ctx.arc(xs(epochs ? epochs[0] : 1), ys(values[0]), 1.5, 0, 7);
    ctx.stroke();
  };
  new Plot(find("plot-curves"), {
    height: 380,
    draw(ctx, width, height) {
      const box = { left: 52, right: width - 12, top: 24, bottom: height - 44 };
      let last = 1;
      S.curves.forEach(([values, epochs]) => { last = Math.max(last, epochs ? epochs[epochs.length - 1] || 1 : values.length); });
      xs = buildScale(Math.min(1, last - 1), last, box.left, box.right, false, true);
      ys = metricScale(S.curves.flatMap(([values]) => values), box.bottom, box.top);
      frame(ctx, box, xs, ys, "epoch", S.metric);
      const number = S.value.length, order = [...S.order].reverse();
      S.rank.forEach((rank, trial) => { if (rank === null) order.unshift(trial); });
      ctx.lineWidth = number > 300 ? 0.6 : 1.1;
      ctx.globalAlpha = number > 3000 ? 0.25 : number > 300 ? 0.5 : 0.85;
      spots = [];
      for (const trial of order) {
        ctx.strokeStyle = colourOf(trial);
        path(ctx, trial);
      }
      ctx.globalAlpha = number > 300 ? 0.6 : 1;
      const arm = number > 300 ? 1.5 : 3;
      for (const trial of order) {
        const { values, epochs } = curveOf(trial), status = DATA.statuses[S.status[trial]];
        if (!values.length) continue;
        values.forEach((value, k) => spots.push(trial, xs(epochs ? epochs[k] : k + 1), ys(value)));
        if (status === "done" || status === "running") continue;
        const [, x, y] = spots.slice(-3);
        ctx.strokeStyle = status === "stopped" ? COLOUR.soft : COLOUR.bad;
        ctx.beginPath();
        ctx.moveTo(x - arm, y - arm); ctx.lineTo(x + arm, y + arm);
        ctx.moveTo(x - arm, y + arm); ctx.lineTo(x + arm, y - arm);
        ctx.stroke();
      }
      ctx.globalAlpha = 1;
      spots = Float32Array.from(spots);
      if (S.best !== null) {
        ctx.strokeStyle = COLOUR.best;
        ctx.lineWidth = 2.6;
        path(ctx, S.best);
      }
      return order.length;
    },
    light(ctx, trial) {
      ctx.strokeStyle = COLOUR.ink;
      ctx.lineWidth = 2.4;
      path(ctx, trial);
    },
    near: (x, y) => nearest(spots, x, y, 24),
  });
}

function nearest(spots, x, y, maxDistance) {
  let [found, least] = [null, maxDistance * maxDistance];
  for (let k = 0; k < spots.length; k += 3) {
    const dx = spots[k + 1] - x, dy = spots[k + 2] - y, far = dx * dx + dy * dy;
    if (far < least) [found, least] = [spots[k], far];
  }
  return found;
}

// A step curve: constant until the next point. With back, it is drawn from the end.
function steps(ctx, points, back) {
  const corners = points.flatMap(([x, y], k) => k ? [[x, points[k - 1][1]], [x, y]] : [[x, y]]);
  for (const [x, y] of back ? corners.reverse() : corners) ctx.lineTo(x, y);
}

function buildProgress() {
  const labels = { trials: "trials", seconds: "seconds since the study began, without pauses", epochs: "epochs of all trials" };
  let xs;
  new Plot(find("plot-progress"), {
    draw(ctx, width, height) {
      const kind = state.against;
      const box = { left: 52, right: width - 12, top: 24, bottom: height - 44 };
      const curves = DATA.studies.map((study) => study.best_so_far[kind]);
      const all = curves.flat();
      const text = (name) => name.length > 24 ? name.slice(0, 23) + "…" : name;
      const lines = repeatedGroups() ? DATA.groups.map((group, g) => [group.label, COLOUR.series[g % 8], group.bands[kind].at(-1) ? [group.bands[kind].at(-1)[0], group.bands[kind].at(-1)[2]] : curves[group.members[0]].at(-1)])
        : DATA.studies.map((study, k) => [study.name, COLOUR.series[k % 8], curves[k].at(-1)]);
      const named = DATA.studies.length > 1 && width > 560 && lines.length <= 12;
      if (named) box.right -= 8 + Math.max(...lines.map(([name]) => ctx.measureText(text(name)).width));
      xs = buildScale(0, Math.max(1, ...all.map((p) => p[0])), box.left, box.right, false, kind !== "seconds");
      const ys = metricScale(all.map((p) => p[1]), box.bottom, box.top);
      frame(ctx, box, xs, ys, labels[kind], S.metric);
      const colours = seriesColours();
      DATA.groups.forEach((group, g) => {
        const band = group.bands[kind];
        if (!band.length) return;
        ctx.fillStyle = COLOUR.series[g % 8];
        ctx.globalAlpha = 0.15;
        ctx.beginPath();
        steps(ctx, band.map((p) => [xs(p[0]), ys(p[1])]));
        steps(ctx, band.map((p) => [xs(p[0]), ys(p[3])]), true);
        ctx.fill();
        ctx.globalAlpha = 1;
        ctx.strokeStyle = COLOUR.series[g % 8];
        ctx.lineWidth = 3;
        ctx.beginPath();
        steps(ctx, band.map((p) => [xs(p[0]), ys(p[2])]));
        ctx.stroke();
      });
      curves.forEach((curve, index) => {
        const repeated = DATA.groups.some((group) => group.members.includes(index) && group.bands[kind].length);
        ctx.strokeStyle = colours[index];
        ctx.lineWidth = repeated ? 0.8 : 2.2;
        ctx.beginPath();
        steps(ctx, curve.map(([x, y]) => [xs(x), ys(y)]));
        ctx.stroke();
        if (curve.length) {
          ctx.fillStyle = colours[index];
          const [x, y] = curve[curve.length - 1];
          ctx.beginPath(); ctx.arc(xs(x), ys(y), 3, 0, 7); ctx.fill();
        }
      });
      if (named) { // the names, moved apart
        let free = -Infinity;
        ctx.textAlign = "left";
        ctx.textBaseline = "middle";
        const placed = lines.filter((line) => line[2]).map(([name, colour, [, y]]) => [name, colour, ys(y)]).sort((a, b) => a[2] - b[2]);
        placed.forEach(([name, colour, y], k) => {
          free = Math.min(Math.max(y, free + 14), box.bottom - 14 * (placed.length - 1 - k));
          ctx.fillStyle = colour;
          ctx.fillText(text(name), box.right + 8, free);
        });
      }
      return curves.length;
    },
    tip(x) {
      const share = (x - xs(xs.low)) / (xs(xs.high) - xs(xs.low)), position = xs.low + share * (xs.high - xs.low);
      if (share < 0 || share > 1) return null;
      return [show(Number(position.toPrecision(3))) + " " + state.against, ...DATA.studies.map((study) => {
        const before = study.best_so_far[state.against].filter((p) => p[0] <= position);
        return [study.name, before.length ? showMetric(S.metric, before[before.length - 1][1]) : "–"];
      })];
    },
  });
  const legend = find("progress-legend");
  const repeated = repeatedGroups();
  const entries = repeated ? DATA.groups.map((group) => group.label + (group.members.length > 1 ? ": median and range of " + group.members.length + " studies" : ""))
    : DATA.studies.map((study) => study.name);
  if (DATA.studies.length > 1) {
    legend.replaceChildren(...entries.map((text, k) => {
      const item = make("li", text), mark = make("i");
      mark.style.background = `var(--c${k % 8})`;
      item.prepend(mark);
      return item;
    }));
  }
  for (const button of document.querySelectorAll("[data-against]")) {
    button.addEventListener("click", () => {
      state.against = button.dataset.against;
      for (const other of document.querySelectorAll("[data-against]")) other.setAttribute("aria-pressed", String(other === button));
      plots.find((plot) => plot.host.id === "plot-progress").render();
    });
  }
}

const repeatedGroups = () => DATA.groups.some((group) => group.bands.trials.length);

function seriesColours() {
  const colours = DATA.studies.map((_, index) => COLOUR.series[index % 8]);
  if (repeatedGroups()) {
    DATA.groups.forEach((group, g) => group.members.forEach((index) => { colours[index] = COLOUR.series[g % 8]; }));
  }
  return colours;
}

function showDuration(seconds) {
  return seconds < 90 ? Math.round(seconds) + " s" : seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
}

function buildTimeline() {
  let xs, row, top;
  const rect = ([slot, , began, ended]) => [xs(began), top + slot * row + 1, Math.max(1, xs(ended) - xs(began) - 0.6), row - 2];
  const plot = new Plot(find("plot-timeline"), {
    height: 200,
    draw(ctx, width, height) {
      const narrow = width < 560, left = narrow ? 40 : 150;
      const box = { left, right: width - 12, top: 8, bottom: height - 44 };
      const end = Math.max(1, ...S.spans.map((span) => span[3]));
      xs = buildScale(0, end, box.left, box.right, false);
      [row, top] = [(box.bottom - box.top) / Math.max(1, S.slots.length), box.top];
      frame(ctx, box, xs, Object.assign(() => 0, { ticks: [] }), "seconds since the study began" + (S.pauses.length ? ", without pauses" : ""), "");
      ctx.textAlign = "right";
      ctx.textBaseline = "middle";
      ctx.fillStyle = COLOUR.soft;
      if (row > 11) S.slots.forEach((name, k) => ctx.fillText(narrow ? String(k + 1) : name.length > 22 ? name.slice(0, 21) + "…" : name, left - 6, top + (k + 0.5) * row));
      for (const span of S.spans) {
        const status = DATA.statuses[S.status[span[1]]], [x, y, w, h] = rect(span);
        ctx.fillStyle = span[1] === S.best ? COLOUR.best : status === "done" || status === "running" ? COLOUR.done : status === "stopped" ? COLOUR.stopped : COLOUR.bad;
        ctx.globalAlpha = status === "running" ? 0.6 : 1;
        ctx.fillRect(x, y, w, h);
        ctx.globalAlpha = 1;
        const text = String(S.number[span[1]]) + (span[4] > 1 ? " · attempt " + span[4] : "");
        if (row > 13 && ctx.measureText(text).width + 6 < w) {
          ctx.fillStyle = COLOUR.card;
          ctx.textAlign = "center";
          ctx.fillText(text, x + w / 2, y + h / 2 + 1);
        }
      }
      ctx.strokeStyle = ctx.fillStyle = COLOUR.ink;
      ctx.lineWidth = 2;
      ctx.setLineDash([4, 3]);
      for (const [at] of S.pauses) { ctx.beginPath(); ctx.moveTo(xs(at), 0); ctx.lineTo(xs(at), box.bottom); ctx.stroke(); }
      ctx.setLineDash([]);
      return S.spans.length;
    },
    light(ctx, trial) {
      ctx.strokeStyle = COLOUR.ink;
      ctx.lineWidth = 2;
      for (const span of S.spans) if (span[1] === trial) ctx.strokeRect(...rect(span));
    },
    near(x, y) {
      const slot = Math.floor((y - top) / row);
      const span = S.spans.find(([s, , began, ended]) => s === slot && xs(began) <= x && x <= xs(ended));
      return span ? span[1] : null;
    },
  });
  plot.prepare = () => {
    const seen = new Set(S.spans.map(([, trial]) => trial === S.best ? "best" : DATA.statuses[S.status[trial]]));
    const keys = [["best", "best trial", seen.has("best")], ["done", "done", seen.has("done")], ["stopped", "stopped", seen.has("stopped")],
      ["running", "running or interrupted", seen.has("running")], ["bad", "failed or diverged", seen.has("failed") || seen.has("diverged")],
      ["pause", "pause of " + S.pauses.map(([, length]) => showDuration(length)).join(", "), S.pauses.length > 0]];
    find("timeline-legend").replaceChildren(...keys.filter((key) => key[2]).map(([key, text]) => {
      const item = make("li", text);
      item.prepend(make("i", undefined, "key-" + key));
      return item;
    }));
    plot.host.style.height = Math.min(600, Math.max(100, 52 + 26 * S.slots.length)) + "px";
  };
}
