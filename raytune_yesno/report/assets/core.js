"use strict";
// Shared by all plots: data, errors, colours, scales, the highlighted trial.
function recordError(text) {
  const list = document.getElementById("errors");
  list.textContent += text + "\n";
}
window.addEventListener("error", (event) => recordError(event.message));
window.addEventListener("unhandledrejection", (event) => recordError(String(event.reason)));

const DATA = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const state = { study: 0, lit: null, against: "trials", where: null };
const plots = [];
let S; // the selected study

function chooseStudy(index) {
  state.study = index;
  state.lit = null;
  S = DATA.studies[index];
  S.order = S.ranking.filter((i) => S.value[i] !== null);
  S.rank = new Array(S.value.length).fill(null);
  S.order.forEach((trial, rank) => { S.rank[trial] = S.order.length > 1 ? rank / (S.order.length - 1) : 0; });
  S.ranOn = new Map(S.spans.map(([slot, trial]) => [trial, S.slots[slot]])); // the last span wins
  S.columns = new Map(S.axes.map((axis, k) => [axis.name, S.points[k]]));
}

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text; // never as HTML
  if (name) element.className = name;
  return element;
}

function show(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return typeof value === "string" ? value : JSON.stringify(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? showPower(value) : String(Number(value.toPrecision(4)));
}
function showPower(value) {
  return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
}
function isPercent(name) { return S.percent.includes(name); }
function showMetric(name, value) {
  if (!isPercent(name) || typeof value !== "number") return show(value);
  return Number((100 * value).toFixed(1)) + "%";
}
function showTick(value) { // short, because ticks have little room
  return Math.abs(value) >= 1e5 ? showPower(value) : show(value);
}

function valueOf(trial, k) {
  const value = S.points[k][trial];
  return value !== null && S.axes[k].kind === "choice" ? S.axes[k].options[value] : value;
}

function configOf(trial) {
  const config = []; // pairs: any text may be a name, such as __proto__
  S.axes.forEach((axis, k) => {
    const value = S.points[k][trial];
    if (value !== null) config.push([axis.name, axis.kind === "choice" ? S.choices[axis.name][value] : value]);
  });
  for (const [name, value] of Object.entries(S.fixed)) {
    if (!Object.hasOwn(S.absent, name) || !S.absent[name].includes(trial)) config.push([name, value]);
  }
  return Object.fromEntries(config);
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed for a page opened as a file
    const area = make("textarea", text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const before = button.dataset.label || (button.dataset.label = button.textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}

// Colours
let COLOUR = {};
let RAMP = [];
const STEPS = 12;
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "soft", "line", "grid", "card", "good", "poor", "best", "bad", "done", "stopped"]) {
    COLOUR[name] = style.getPropertyValue("--" + name).trim();
  }
  COLOUR.series = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => style.getPropertyValue("--c" + k).trim());
  const [from, to] = [COLOUR.good, COLOUR.poor].map((hex) => {
    const long = hex.length === 4 ? "#" + [...hex.slice(1)].map((c) => c + c).join("") : hex;
    return [1, 3, 5].map((k) => parseInt(long.slice(k, k + 2), 16));
  });
  RAMP = Array.from({ length: STEPS }, (_, k) => {
    const share = Math.sqrt(k / (STEPS - 1));
    return "rgb(" + from.map((c, j) => Math.round(c + share * (to[j] - c))).join(",") + ")";
  });
}
const colourOf = (trial) => S.rank[trial] === null ? COLOUR.stopped : RAMP[Math.round(S.rank[trial] * (STEPS - 1))];

// Scales: from values to pixels
function buildScale(low, high, from, to, log, whole) {
  // Values that differ by rounding errors alone leave no room for ticks.
  const same = !(high - low > 1e-12 * Math.max(Math.abs(low), Math.abs(high)));
  if (same) [low, high] = log ? [low / 2, low * 2] : [low - (Math.abs(low) || 1) / 2, low + (Math.abs(low) || 1) / 2];
  const f = log ? Math.log : (x) => x;
  const [a, b] = [f(low), f(high)];
  const scale = (x) => from + (f(x) - a) / (b - a) * (to - from);
  const ticks = log ? logTicks(low, high) : linearTicks(low, high);
  return Object.assign(scale, { low, high, log, ticks: whole ? ticks.filter(Number.isInteger) : ticks });
}
function linearTicks(low, high, count = 5) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-6; k++) ticks.push(Number((k * step).toPrecision(10)));
  return ticks;
}
function logTicks(low, high) {
  const decades = Math.log10(high / low), ticks = [];
  const mantissas = decades > 4 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 3, 5];
  const step = Math.ceil(decades / 9);
  for (let power = Math.floor(Math.log10(low) / step) * step; power <= Math.log10(high); power += step) {
    for (const m of mantissas) {
      const tick = Number((m * 10 ** power).toPrecision(6));
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks.length > 1 ? ticks : [low, high];
}
function metricScale(values, from, to) {
  return Object.assign(rawMetricScale(values, from, to), { percent: isPercent(S.metric) });
}
function rawMetricScale(values, from, to) {
  const known = Float64Array.from(values.filter((value) => value !== null)).sort(), last = known.length - 1;
  let [low, high] = last < 0 ? [0, 1] : [known[0], known[last]];
  // A few huge values would squeeze all others into one line, so they are drawn at the edge.
  const common = last < 0 ? 1 : known[Math.floor(0.9 * last)], cut = low > 0 && high / common > 1e4;
  if (cut) high = 10 * common;
  const log = low > 0 && high / low > 15, share = 0.04;
  if (high > low) { // margin, so that the best value is not on the frame
    if (log) [low, high] = [low * (low / high) ** share, high * (high / low) ** share];
    else [low, high] = [low - share * (high - low), high + share * (high - low)];
  }
  const scale = buildScale(low, high, from, to, log);
  return cut ? Object.assign((value) => scale(Math.min(value, high)), scale, { cut }) : scale;
}

class Plot {
  // Options: draw(ctx, width, height) draws the plot and returns the number of items;
  // light(ctx, trial) draws the highlighted trial on top; near(x, y) returns the nearest trial;
  // tip(x, y) returns the lines of the tooltip of a plot without near.
  constructor(host, options) {
    this.host = host;
    Object.assign(this, options);
    this.base = make("canvas");
    this.top = make("canvas");
    host.append(this.base, this.top);
    host.style.height = (options.height || 320) + "px";
    host.tabIndex = 0;
    host.setAttribute("role", "img");
    host.setAttribute("aria-label", (host.dataset.label || "") + (options.near ? ". Arrow keys step through the trials, best first." : ""));
    host.addEventListener("pointermove", (event) => this.point(event));
    host.addEventListener("pointerdown", (event) => this.point(event));
    host.addEventListener("pointerleave", () => lightUp(null));
    host.addEventListener("blur", () => lightUp(null));
    host.addEventListener("keydown", (event) => this.step(event));
    plots.push(this);
  }
  point(event) {
    const box = this.host.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (this.tip) showTip(this.tip(x, y), event.clientX, event.clientY);
    else if (this.near) lightUp(this.near(x, y), event.clientX, event.clientY);
  }
  step(event) {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") lightUp(null);
    if (!move || !this.near || !S.order.length) return;
    event.preventDefault();
    const position = state.lit === null ? (move > 0 ? 0 : S.order.length - 1) : S.order.indexOf(state.lit) + move;
    const box = this.host.getBoundingClientRect();
    lightUp(S.order[(position + S.order.length) % S.order.length], box.right - 330, Math.max(0, box.top));
  }
  render() {
    const width = this.host.clientWidth, height = this.host.clientHeight;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.base, this.top]) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    const ctx = this.base.getContext("2d");
    ctx.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
    ctx.lineJoin = "round";
    this.host.dataset.drawn = this.draw(ctx, width, height);
    this.relight();
  }
  relight() {
    const ctx = this.top.getContext("2d");
    ctx.clearRect(0, 0, this.host.clientWidth, this.host.clientHeight);
    if (state.lit !== null && this.light) this.light(ctx, state.lit);
  }
}

function lightUp(trial, x, y) {
  if (trial !== state.lit) {
    state.lit = trial;
    for (const plot of plots) plot.relight();
  }
  if (trial === null) return showTip(null);
  const rows = [
    ["status", DATA.statuses[S.status[trial]]], [S.metric, showMetric(S.metric, S.value[trial])],
    ...S.others.filter((m) => m.values[trial] !== null).map((m) => [m.name, showMetric(m.name, m.values[trial])]),
    ["epochs", S.best_epoch[trial] === null ? S.epochs[trial] : "best " + S.best_epoch[trial] + " of " + S.epochs[trial]],
    ...S.axes.map((axis, k) => [axis.name, show(valueOf(trial, k))]),
    ...(S.ranOn.has(trial) ? [["slot", S.ranOn.get(trial)]] : []),
    ...(S.errors[trial] ? [["error", S.errors[trial]]] : []),
  ];
  showTip(["Trial " + S.number[trial], ...rows], x, y);
}

function showTip(lines, x, y) {
  const tip = find("tip");
  tip.hidden = !lines;
  if (!lines) return;
  tip.replaceChildren(...lines.map((line) => {
    if (typeof line === "string") return make("b", line);
    const row = make("div");
    row.append(make("span", line[0]), make("em", line[1]));
    row.lastChild.style.fontStyle = "normal";
    return row;
  }));
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = Math.max(4, x + 16 + width > innerWidth ? x - width - 16 : x + 16) + "px";
  tip.style.top = Math.max(4, Math.min(y + 12, innerHeight - height - 4)) + "px";
}

const fits = (ctx, xs) => xs.names.every((name) => ctx.measureText(name).width + 6 < Math.abs(xs.step));
function frame(ctx, box, xs, ys, xLabel, yLabel, small) {
  ctx.strokeStyle = COLOUR.grid;
  ctx.fillStyle = COLOUR.soft;
  ctx.lineWidth = 1;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  const yTicks = small && ys.ticks.length > 4 ? ys.ticks.filter((_, k) => k % 2 === 0) : ys.ticks;
  for (const tick of yTicks) {
    const y = ys(tick);
    ctx.beginPath(); ctx.moveTo(box.left, y); ctx.lineTo(box.right, y); ctx.stroke();
    ctx.fillText(ys.names ? ys.names[tick] : ys.percent ? show(Number((100 * tick).toPrecision(6))) + "%" : small && tick >= 1e4 ? showPower(tick) : showTick(tick), box.left - 6, y);
  }
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  let labelEnd = -Infinity;
  const slanted = xs.names && !fits(ctx, xs);
  for (const tick of xs.ticks) {
    if (slanted) { // every choice has its label
      ctx.save();
      ctx.translate(xs(tick) + 4, box.bottom + 6);
      ctx.rotate(-0.9);
      ctx.textAlign = "right";
      ctx.fillText(xs.names[tick], 0, 0);
      ctx.restore();
      continue;
    }
    const name = xs.names ? xs.names[tick] : showTick(tick), half = ctx.measureText(name).width / 2;
    if (xs(tick) - half < labelEnd + 6) continue;
    const x = Math.min(xs(tick), box.right - half + 8);
    ctx.fillText(name, x, box.bottom + 6);
    labelEnd = x + half;
  }
  ctx.strokeStyle = COLOUR.line;
  ctx.beginPath(); ctx.moveTo(box.left, box.bottom); ctx.lineTo(box.right, box.bottom); ctx.stroke();
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  ctx.fillStyle = COLOUR.ink;
  ctx.fillText(xLabel, box.right, box.bottom + (slanted ? 78 : small ? 34 : 38));
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  if (yLabel) ctx.fillText(yLabel + (ys.cut ? `, values above ${showTick(Number(ys.high.toPrecision(1)))} at the edge` : ""), 0, 0);
}
