// One layer in every run: boxes or bands of its values, and the similarity of the runs.

const layer = document.getElementById("layer");
const buttons = ["previous-layer", "next-layer"].map((id) => document.getElementById(id));
const boxes = document.getElementById("boxes");
const matrix = document.getElementById("matrix");
const quantiles = unpack(part.boxes.quantiles);
const alike = part.matrix && unpack(part.matrix.values);
part.layers.forEach((name, index) => layer.append(element("option", { value: String(index), textContent: name.slice(0, 80) })));
const titles = part.boxes.figure.data[0].x;
const banded = part.boxes.figure.data.length > 1;
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
  const index = Math.max(0, Math.min(part.layers.length - 1, next));
  layer.value = String(index);
  buttons[0].disabled = index === 0;
  buttons[1].disabled = index === part.layers.length - 1;
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
  return { ...part.boxes.figure, data: part.boxes.figure.data.map((trace, index) => ({ ...trace, ...traces[index] })) };
});
if (matrix) {
  plot(matrix, () => ({ ...part.matrix.figure, data: [{ ...part.matrix.figure.data[0], z: cells() }] }));
}
show(0);
