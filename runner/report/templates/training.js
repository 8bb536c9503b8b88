// Training: a figure of each metric's history, and the drift of the layers.

(data.training?.curves ?? []).forEach(([, figure], index) => plot(document.getElementById(`curve-${index}`), () => figure));
if (data.training?.drift) plot(document.getElementById("drift"), () => data.training.drift);

