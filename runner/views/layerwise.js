// The similarity of the layers of the two chosen runs.

if (part.runs) {
  const place = document.getElementById("layerwise");
  const chosen = ["run-a", "run-b"].map((id) => document.getElementById(id));
  const { figure, runs: titles, layers } = part;
  const alike = rows(unpack(part.values));
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
