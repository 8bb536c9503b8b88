// Code of every page: unpacks its data, draws figures, sorts tables, prints.

const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)");

const TYPES = {
  f4: Float32Array, f8: Float64Array, i1: Int8Array, u1: Uint8Array, i2: Int16Array,
  u2: Uint16Array, i4: Int32Array, u4: Uint32Array,
};

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// Unpacks an array packed by Python: little-endian, as are all machines with a browser.
function unpack(packed) {
  const raw = bytes(packed.bdata);
  return { values: new TYPES[packed.dtype](raw.buffer), shape: packed.shape, type: packed.dtype };
}

function rows(array) {
  const [count, width] = array.shape;
  return Array.from({ length: count }, (_, row) => array.values.subarray(row * width, (row + 1) * width));
}

// One of the arrays that are stacked in a packed one.
function block(packed, index) {
  const { values, shape } = packed;
  const size = shape.slice(1).reduce((product, length) => product * length, 1);
  return { values: values.subarray(index * size, (index + 1) * size), shape: shape.slice(1) };
}

// The shortest text that identifies a float32; JavaScript already does this for float64.
function digits(value, type) {
  if (type === "f4" && Number.isFinite(value)) {
    for (let count = 1; count < 9; count += 1) {
      const short = Number(value.toPrecision(count));
      if (Math.fround(short) === value) return String(short === 0 ? 0 : short);
    }
    return String(Number(value.toPrecision(9)));
  }
  return String(value === 0 ? 0 : value);
}

function brief(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

function mixed(stops, place) {
  const at = Math.min(Math.max(place, 0), 1) * (stops.length - 1);
  const [low, high] = [Math.floor(at), Math.ceil(at)].map((stop) =>
    [1, 3, 5].map((start) => parseInt(stops[stop].slice(start, start + 2), 16)));
  return low.map((part, index) => Math.round(part + (high[index] - part) * (at - Math.floor(at))));
}

function scaleBar(stops, low, high) {
  const bar = element("i");
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  const middle = low < 0 && high > 0 ? [element("span", { textContent: "(0 in the middle)" })] : [];
  return element("div", { className: "scale" },
    element("span", { textContent: brief(low) }), bar,
    element("span", { textContent: brief(high) }), ...middle);
}

function say(message) {
  const place = document.getElementById("trouble");
  place.textContent = message;
  place.hidden = false;
}

// The plotting library is compressed: decompressing it is faster than reading the whole from disk.
async function loadLibrary() {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is too old for the figures (it has no DecompressionStream)");
  }
  const packed = bytes(document.getElementById("plotly").textContent);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  document.head.append(element("script", { textContent: await new Response(stream).text() }));
  if (typeof Plotly === "undefined") throw new Error("this browser refused the script that draws figures");
}

const figures = new Map(); // element: functions that make its figure and that run once it is drawn
const drawn = new Set();

function axes(layout) {
  return Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
}

function looks(layout, paper = false) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name, printed) => (paper ? printed : style.getPropertyValue(name).trim());
  const look = {
    "font.color": colour("--text", "#000"), "font.family": getComputedStyle(document.body).fontFamily,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: layout.plot_bgcolor ?? "rgba(0,0,0,0)",
    "hoverlabel.bgcolor": colour("--raised", "#fff"), "hoverlabel.bordercolor": colour("--line", "#bbb"),
    "hoverlabel.font.color": colour("--text", "#000"),
  };
  for (const axis of axes(layout)) {
    look[`${axis}.gridcolor`] = colour("--grid", "#ddd");
    look[`${axis}.zerolinecolor`] = colour("--line", "#bbb");
    look[`${axis}.linecolor`] = colour("--line", "#bbb");
  }
  return look;
}

async function draw(place) {
  if (drawn.has(place)) return;
  drawn.add(place);
  const { make, after } = figures.get(place);
  const { data: traces, layout } = make();
  if (touch.matches) { // a finger scrolls the page
    layout.dragmode = false;
    for (const axis of axes(layout)) layout[axis].fixedrange = true;
  }
  for (const trace of traces) { // numbers in narrow cells would be too small to read
    const wide = trace.x && (place.clientWidth - 140) / trace.x.length >= 44;
    if (trace.texttemplate && !wide) delete trace.texttemplate;
  }
  layout.font = { size: 12 };
  const options = { displaylogo: false, responsive: true, displayModeBar: false, doubleClickDelay: 400 };
  await Plotly.newPlot(place, traces, layout, options);
  await Plotly.relayout(place, looks(layout));
  after?.(place);
  place.dataset.drawn = "";
}

const inSight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && figures.has(entry.target)) {
      inSight.unobserve(entry.target);
      ready.then(() => draw(entry.target), () => {});
    }
  }
}, { rootMargin: "400px" });

// Registers a figure, which is drawn once it is close to the visible part of the page.
function plot(place, make, after) {
  figures.set(place, { make, after });
  inSight.observe(place);
}

const heights = new Map(); // on the screen; two figures and their text fit on a sheet

function redress(paper) {
  for (const place of drawn) {
    if (!place.layout) continue;
    heights.set(place, heights.get(place) ?? place.layout.height);
    const height = heights.get(place);
    const size = paper ? { width: Math.min(place.clientWidth, 660), height: Math.min(height, 320) }
      : { width: null, autosize: true, height };
    Plotly.relayout(place, { ...looks(place.layout, paper), ...size });
  }
}
dark.addEventListener("change", () => redress(false));
addEventListener("beforeprint", () => {
  const missing = [...figures.keys()].filter((place) => place.offsetParent && !drawn.has(place));
  if (typeof Plotly !== "undefined") Promise.all(missing.map(draw)).then(() => redress(true));
  redress(true);
});
addEventListener("afterprint", () => redress(false));

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    heading.querySelector("button")?.addEventListener("click", () => {
      const upwards = heading.getAttribute("aria-sort") === "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", upwards ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const order = (a, b) => {
        const [first, second] = [key(a), key(b)];
        const [left, right] = [Number(first), Number(second)];
        const missing = [first === "" || first === "nan", second === "" || second === "nan"];
        if (missing[0] || missing[1]) return missing[0] - missing[1]; // at the end either way
        const by = Number.isNaN(left) || Number.isNaN(right) ? first.localeCompare(second, undefined, { numeric: true }) : left - right;
        return upwards ? by : -by;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}

const ready = loadLibrary();
ready.catch((error) => say(`The figures cannot be drawn: ${error.message}.`));
