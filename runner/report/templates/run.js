// The page of one run: shows the chosen sample in every view, and the arithmetic of a value.

const panel = document.getElementById("panel");
const views = (data.layers ?? []).map((layer) => ({ ...layer, cells: unpack(layer.cells) }));
const followers = []; // functions to call when the sample changes
let sample = 0;
let shownValue = null;

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}

function command(view, unit) {
  const words = ["python", "-m", "runner", "explain", view.name, unit, data.run, "--sample", data.samples[sample]];
  return words.map(quoted).join(" ");
}

// Shows the arithmetic of a value; a mean over positions is not stored, so it has none.
function explain(view, unit, value, mean = false) {
  shownValue = { view, unit, value, mean };
  const text = view.explained.texts?.[sample]?.[unit];
  panel.querySelector("h2").textContent = `${view.name} ${unit}, sample ${data.samples[sample]}: ${value}`;
  let told = text;
  if (mean) told = `The mean of this sample's values of ${unit}; the images below show each of them.`;
  else if (text === undefined && view.explained.why_not) told = `The arithmetic is not available: ${view.explained.why_not}.`;
  else if (text === undefined) told = `This page holds the arithmetic of some values only. For this one, run\n\n${command(view, unit)}`;
  panel.classList.toggle("wrapped", text === undefined || mean);
  panel.querySelector("pre").textContent = told;
  panel.hidden = false;
  document.body.classList.add("explaining");
  uncover();
}

// Scrolls the chosen element out from under the panel, once the page has its new width.
function uncover() {
  const chosen = document.activeElement;
  if (!chosen || chosen === document.body || panel.contains(chosen)) return;
  requestAnimationFrame(() => {
    const [it, over] = [chosen.getBoundingClientRect(), panel.getBoundingClientRect()];
    const beside = over.left >= it.right;
    const end = beside ? innerHeight : over.top;
    const hidden = it.top < 60 || Math.min(it.bottom, it.top + 300) > end;
    if (hidden) scrollBy({ top: it.top - Math.max(70, (end - Math.min(it.height, end)) / 2) });
  });
}

function closePanel() {
  panel.hidden = true;
  document.body.classList.remove("explaining");
  shownValue = null;
}

// Lists the columns of a wide table that lie beyond its right edge.
function cueColumns(frame) {
  const [scroller, cue] = [frame.querySelector(".scroll"), frame.nextElementSibling];
  const show = () => {
    const edge = scroller.getBoundingClientRect().right;
    const beyond = [...scroller.querySelectorAll("thead th")].filter((one) => one.getBoundingClientRect().right > edge + 4);
    if (beyond.length) frame.dataset.more = "";
    else delete frame.dataset.more;
    const [first] = beyond;
    cue.textContent = first ? `Scroll to the right for ${beyond.map((one) => one.textContent.trim()).join(", ")}.` : "";
  };
  scroller.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(scroller);
}
for (const frame of document.querySelectorAll(".cued")) cueColumns(frame);

function chooseSample(next) {
  sample = Math.max(0, Math.min(data.samples.length - 1, next));
  document.getElementById("sample").value = String(sample);
  document.getElementById("previous").disabled = sample === 0;
  document.getElementById("next").disabled = sample === data.samples.length - 1;
  for (const follow of followers) follow(sample);
  if (shownValue && !panel.hidden) closePanel();
}

function valueOf(view, row, column) {
  return digits(view.cells.values[row * view.cells.shape[1] + column], view.cells.type);
}

// Whether a view's values are means over positions, not stored values.
function isMean(view) {
  return view.maps !== null;
}

function heatMap(section, view) {
  const place = section.querySelector(".heat");
  const readout = section.querySelector(".readout");
  const cursor = { row: 0, column: 0, on: false };
  const read = () => {
    const what = isMean(view) ? "mean " : "";
    readout.textContent = `sample ${data.samples[cursor.row]}, ${view.unit_names[cursor.column]}: ${what}${valueOf(view, cursor.row, cursor.column)}`;
  };
  const mark = () => {
    if (!place.layout) return;
    const mark = getComputedStyle(document.documentElement).getPropertyValue("--mark").trim();
    const [count, width] = view.cells.shape;
    const box = (x0, x1, row) => ({
      type: "rect", x0: x0 - 0.5, x1: x1 + 0.5, y0: row - 0.5, y1: row + 0.5, line: { color: mark, width: 2 },
    });
    const shapes = count > 1 ? [box(0, width - 1, sample)] : [];
    if (cursor.on) shapes.push(box(cursor.column, cursor.column, cursor.row));
    Plotly.relayout(place, { shapes });
  };
  const pick = () => {
    chooseSample(cursor.row);
    explain(view, view.unit_names[cursor.column], valueOf(view, cursor.row, cursor.column), isMean(view));
  };
  plot(place, () => {
    const { data: [trace], layout } = structuredClone(view.figure);
    return { data: [{ ...trace, z: rows(view.cells) }], layout };
  }, () => {
    place.on("plotly_click", ({ points: [point] }) => {
      [cursor.row, cursor.column] = point.pointIndex;
      cursor.on = true;
      read();
      pick();
      mark();
    });
    mark();
  });
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  place.addEventListener("keydown", (event) => {
    if (event.key === "Enter") pick();
    else if (event.key in moves) {
      const [down, right] = moves[event.key];
      const [count, width] = view.cells.shape;
      if (cursor.on) {
        cursor.row = Math.max(0, Math.min(count - 1, cursor.row + down));
        cursor.column = Math.max(0, Math.min(width - 1, cursor.column + right));
      } else {
        cursor.row = sample;
      }
      cursor.on = true;
      read();
    } else return;
    event.preventDefault();
    mark();
  });
  followers.push(mark);
}

function distribution(section, view) {
  const place = section.querySelector(".distribution");
  const mark = () => {
    if (!place.layout) return;
    const width = view.cells.shape[1];
    const own = [...view.cells.values.subarray(sample * width, (sample + 1) * width)].filter(Number.isFinite);
    Plotly.restyle(place, { x: [own], y: [own.map(() => 0)] }, [1]);
  };
  plot(place, () => structuredClone(view.histogram), mark);
  followers.push(mark);
}

function valueList(section, view) {
  const list = section.querySelector(".values");
  const state = new Map([
    ...view.state.dead.map((unit) => [`u${unit}`, " (dead)"]),
    ...view.state.constant.map((unit) => [`u${unit}`, " (constant)"]),
    ...(view.state.saturated ?? []).map((unit) => [`u${unit}`, " (saturated)"]),
  ]);
  const show = () => {
    list.querySelector(".which").textContent = data.samples[sample];
    if (!list.open) return;
    list.querySelector("ul").replaceChildren(...view.unit_names.map((unit, column) => {
      const value = valueOf(view, sample, column);
      const button = element("button", { type: "button" },
        element("b", { textContent: unit }), value + (state.get(unit) ?? ""));
      button.addEventListener("click", () => explain(view, unit, value, isMean(view)));
      return element("li", {}, button);
    }));
  };
  list.addEventListener("toggle", show);
  followers.push(show);
}

function input(figure, view) {
  if (view.maps) {
    figure.querySelector("figcaption").append(element("span", { className: "note", textContent: view.maps.told }));
    followers.push(imageGrid(figure, view.maps, view.name));
    if (!view.columns) return;
  }
  const numbers = view.values && unpack(view.values);
  const said = (row, column) => (numbers
    ? digits(numbers.values[row * numbers.shape[1] + column], numbers.type) : view.texts[row][column]);
  const list = element("ul", { className: "chips" });
  const place = view.maps ? element("details", {}, element("summary", { textContent: "Pixels as text" })) : figure;
  if (view.told) place.append(element("p", { className: "note", textContent: view.told }));
  place.append(list);
  if (view.maps) figure.append(place);
  followers.push((chosen) => list.replaceChildren(...view.columns.map((name, column) => element("li", {},
    element("span", {}, element("b", { textContent: name }), said(chosen, column))))));
}

if (data.samples) {
  const choice = document.getElementById("sample");
  data.samples.forEach((id, index) => {
    const label = data.labels ? ` (label ${data.labels[index]})` : "";
    choice.append(element("option", { value: String(index), textContent: (id + label).slice(0, 80) }));
  });
  choice.addEventListener("change", () => chooseSample(Number(choice.value)));
  document.getElementById("previous").addEventListener("click", () => chooseSample(sample - 1));
  document.getElementById("next").addEventListener("click", () => chooseSample(sample + 1));
  document.getElementById("close").addEventListener("click", closePanel);
  addEventListener("keydown", (event) => { if (event.key === "Escape") closePanel(); });

  for (const figure of document.querySelectorAll("[data-input]")) input(figure, data.inputs[figure.dataset.input]);
  if (data.chain) {
    const layers = data.chain.layers.map((layer) => views.find((view) => view.name === layer.name && view.kind === "activation"));
    const [given] = data.inputs;
    const columns = [
      { name: given?.name ?? "input", about: "", units: data.chain.inputs, values: unpack(given.values) },
      ...layers.map((view, index) => ({ name: view.name, about: data.chain.layers[index].activation, units: view.unit_names, values: view.cells })),
    ];
    followers.push(unitDiagram(document.getElementById("network"), data.chain, columns, (column, unit) => {
      if (column > 0) explain(layers[column - 1], layers[column - 1].unit_names[unit], valueOf(layers[column - 1], sample, unit));
      else closePanel();
    }));
  } else {
    const graph = document.querySelector(".graph");
    layerRails(graph, data.edges);
    const unfold = document.getElementById("unfold");
    const blocks = [...graph.querySelectorAll("details")];
    unfold.hidden = !blocks.length;
    const name = () => { unfold.textContent = blocks.every((block) => block.open) ? "Close all blocks" : "Open all blocks"; };
    unfold.addEventListener("click", () => {
      const open = !blocks.every((block) => block.open);
      for (const block of blocks) block.open = open;
      name();
    });
    name();
  }
  for (const section of document.querySelectorAll(".layer")) {
    const view = views[section.dataset.view];
    heatMap(section, view);
    distribution(section, view);
    valueList(section, view);
    if (view.maps) {
      const figure = section.querySelector(".maps");
      followers.push(imageGrid(figure, view.maps, view.name, ({ unit, value }) => explain(view, unit, value)));
    }
  }
  const sections = [...document.querySelectorAll(".layer")];
  const layer = document.getElementById("layer");
  if (layer) {
    const buttons = ["previous-layer", "next-layer"].map((id) => document.getElementById(id));
    document.getElementById("layers").classList.add("single");
    views.forEach((view, index) => {
      const kind = view.kind === "activation" ? "" : ` (${view.kind})`;
      layer.append(element("option", { value: String(index), textContent: (view.name + kind).slice(0, 80) }));
    });
    const show = (next) => {
      const index = Math.max(0, Math.min(sections.length - 1, next));
      sections.forEach((section, number) => { section.open = number === index; });
      layer.value = String(index);
      buttons[0].disabled = index === 0;
      buttons[1].disabled = index === sections.length - 1;
    };
    layer.addEventListener("change", () => show(Number(layer.value)));
    buttons.forEach((button, number) => button.addEventListener("click", () => show(Number(layer.value) + 2 * number - 1)));
    sections.forEach((section, number) => section.addEventListener("toggle", () => {
      if (section.open && layer.value !== String(number)) show(number);
    }));
    show(0);
  }
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.matches(".layer")) { target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", openTarget);
  chooseSample(0);
  openTarget();
}
