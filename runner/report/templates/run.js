// The page of one run: the chosen sample, which all views follow, and the arithmetic of a value.

const panel = document.getElementById("panel");
const views = (data.layers ?? []).map((layer) => ({ ...layer, cells: unpack(layer.cells) }));
const followers = []; // functions to call when the sample changes
const atStart = []; // functions to call once all views are drawn
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

  queueMicrotask(() => { // once the scripts of all views have run
    chooseSample(0);
    for (const start of atStart) start();
  });
}
