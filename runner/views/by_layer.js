// A statistic of each layer: one dot per run, and their median.

function median(values) {
  const sorted = [...values].filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length ? (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2 : null;
}

const byLayer = document.getElementById("by-layer");
const statistic = document.getElementById("statistic");
const statistics = unpack(part.values);
const title = () => statistic.options[statistic.selectedIndex].textContent;
const columnsOf = () => {
  const chosen = block(statistics, statistic.selectedIndex);
  return [[...chosen.values], rows(chosen).map(median)];
};
const name = () => {
  document.getElementById("statistic-title").textContent = title()[0].toUpperCase() + title().slice(1);
};
plot(byLayer, () => {
  const { data: traces, layout } = part.figure;
  columnsOf().forEach((y, index) => { traces[index].y = y; });
  layout.yaxis.title.text = title();
  return { data: traces, layout };
});
statistic.addEventListener("change", () => {
  name();
  if (byLayer.layout) Plotly.update(byLayer, { y: columnsOf() }, { "yaxis.title.text": title() });
});
name();
