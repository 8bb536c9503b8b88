// Layers: heat map, histogram, maps and list of the chosen sample's values.

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
atStart.push(openTarget);
