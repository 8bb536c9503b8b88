// How runs were trained: a figure of each history, and how far layers moved.

(data.training?.curves ?? []).forEach(([, figure], index) => plot(document.getElementById(`curve-${index}`), () => figure));
if (data.training?.drift) plot(document.getElementById("drift"), () => data.training.drift);

