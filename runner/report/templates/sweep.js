// The page of several runs: figures for the chosen statistic and the chosen layer.

function block(packed, index) {
  const { values, shape } = packed;
  const size = shape.slice(1).reduce((product, length) => product * length, 1);
  return { values: values.subarray(index * size, (index + 1) * size), shape: shape.slice(1) };
}

function median(values) {
  const sorted = [...values].filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length ? (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2 : null;
}

if (data.layers) {
  const byLayer = document.getElementById("by-layer");
  const statistic = document.getElementById("statistic");
  const statistics = unpack(data.by_layer.values);
  const title = () => statistic.options[statistic.selectedIndex].textContent;
  const columnsOf = () => {
    const chosen = block(statistics, statistic.selectedIndex);
    return [[...chosen.values], rows(chosen).map(median)];
  };
  const name = () => {
    document.getElementById("statistic-title").textContent = title()[0].toUpperCase() + title().slice(1);
  };
  plot(byLayer, () => {
    const { data: traces, layout } = data.by_layer.figure;
    columnsOf().forEach((y, index) => { traces[index].y = y; });
    layout.yaxis.title.text = title();
    return { data: traces, layout };
  });
  statistic.addEventListener("change", () => {
    name();
    if (byLayer.layout) Plotly.update(byLayer, { y: columnsOf() }, { "yaxis.title.text": title() });
  });
  name();

  if (data.stability) plot(document.getElementById("stability"), () => data.stability);

  const layer = document.getElementById("layer");
  const buttons = ["previous-layer", "next-layer"].map((id) => document.getElementById(id));
  const boxes = document.getElementById("boxes");
  const matrix = document.getElementById("matrix");
  const quantiles = unpack(data.boxes.quantiles);
  const alike = data.matrix && unpack(data.matrix.values);
  data.layers.forEach((name, index) => layer.append(element("option", { value: String(index), textContent: name.slice(0, 80) })));
  const titles = data.boxes.figure.data[0].x;
  const banded = data.boxes.figure.data.length > 1;
  const tracesOf = () => { // without the runs that have no such layer
    const found = rows(block(quantiles, Number(layer.value)));
    const there = found.map((row, run) => run).filter((run) => Number.isFinite(found[run][0]));
    const x = there.map((run) => titles[run]);
    const parts = [0, 1, 2, 3, 4].map((index) => there.map((run) => found[run][index]));
    if (banded) return parts.map((y) => ({ x, y }));
    const [lowerfence, q1, middle, q3, upperfence] = parts;
    return [{ x, lowerfence, q1, median: middle, q3, upperfence }];
  };
  const cells = () => rows(block(alike, Number(layer.value)));
  const show = (next) => {
    const index = Math.max(0, Math.min(data.layers.length - 1, next));
    layer.value = String(index);
    buttons[0].disabled = index === 0;
    buttons[1].disabled = index === data.layers.length - 1;
    if (boxes.layout) {
      const traces = tracesOf();
      Plotly.restyle(boxes, Object.fromEntries(Object.keys(traces[0]).map((key) => [key, traces.map((one) => one[key])])));
    }
    if (matrix?.layout) Plotly.restyle(matrix, { z: [cells()] });
  };
  layer.addEventListener("change", () => show(Number(layer.value)));
  buttons.forEach((button, number) => button.addEventListener("click", () => show(Number(layer.value) + 2 * number - 1)));
  plot(boxes, () => {
    const traces = tracesOf();
    return { ...data.boxes.figure, data: data.boxes.figure.data.map((trace, index) => ({ ...trace, ...traces[index] })) };
  });
  if (matrix) {
    plot(matrix, () => ({ ...data.matrix.figure, data: [{ ...data.matrix.figure.data[0], z: cells() }] }));
  }
  show(0);
}

// The similarity of the layers of the two chosen runs.
if (data.layerwise?.runs) {
  const place = document.getElementById("layerwise");
  const chosen = ["run-a", "run-b"].map((id) => document.getElementById(id));
  const { figure, runs: titles, layers } = data.layerwise;
  const alike = rows(unpack(data.layerwise.values));
  const starts = layers.reduce((sums, own) => [...sums, sums.at(-1) + own.length], [0]);
  chosen.forEach((select, side) => {
    titles.forEach((title, index) => select.append(element("option", { value: String(index), textContent: title.slice(0, 80) })));
    select.value = String(side);
  });
  const shown = () => {
    const [a, b] = chosen.map((select) => Number(select.value));
    const z = layers[a].map((_, row) => alike[starts[a] + row].subarray(starts[b], starts[b + 1]));
    return { x: layers[b], y: layers[a], z };
  };
  const heading = () => chosen.map((select) => select.options[select.selectedIndex].textContent);
  const made = () => {
    const [rowRun, columnRun] = heading();
    document.getElementById("layerwise-runs").textContent = `rows: ${rowRun}; columns: ${columnRun}`;
    const cells = shown();
    const layout = structuredClone(figure.layout);
    layout.height = Math.min(220 + 18 * cells.y.length, 720);
    layout.yaxis.title.text = "layer";
    layout.xaxis.title.text = "layer";
    return { data: [{ ...figure.data[0], ...cells }], layout };
  };
  plot(place, made);
  chosen.forEach((select) => select.addEventListener("change", () => {
    const { data: traces, layout } = made();
    if (place.layout) Plotly.update(place, { x: [traces[0].x], y: [traces[0].y], z: [traces[0].z] }, { height: layout.height });
  }));
}
