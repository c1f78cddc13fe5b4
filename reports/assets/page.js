"use strict";
(async () => {
  const root = document.documentElement;
  const plots = [...document.querySelectorAll(".plot")].map((box) => ({
    box,
    figure: JSON.parse(document.querySelector(`script[data-for="${box.id}"]`).textContent),
  }));
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };

  // -- plotly's own script, packed so that the page can be mailed

  async function unpack(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  try {
    await unpack(document.getElementById("plotly").textContent);
  } catch {
    for (const { box } of plots) box.textContent = "This browser is too old to draw; every number is in the tables below.";
    return;
  }

  // -- light and dark

  const stored = (() => {
    try { return localStorage.getItem("simctl-theme"); } catch { return null; }
  })();
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;

  const preference = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : preference.matches);

  function themed(figure, box) {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const layout = structuredClone(figure.layout);
    layout.font = { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 };
    layout.hoverlabel = {
      bgcolor: colour("--sheet"), bordercolor: colour("--soft"), align: "left", font: { ...layout.font },
    };
    layout.dragmode = touch ? false : "zoom";
    layout.height = figure.layout.height ?? box.clientHeight;
    const narrow = box.clientWidth < 480;
    if (narrow && layout.meta?.x_end_if_narrow) layout.xaxis.range = [0, layout.meta.x_end_if_narrow];
    if (box.dataset.legend === "shared") layout.showlegend = false;
    for (const note of layout.annotations ?? []) note.bgcolor = `${colour("--sheet")}b8`;
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      const axis = { gridcolor: colour("--grid"), linecolor: colour("--line"), ...layout[name] };
      if (axis.title) axis.title = { ...axis.title, font: { size: 12.5, color: colour("--soft") }, standoff: 8 };
      axis.tickfont = { size: 12, color: colour("--soft"), ...(axis.type === "category" ? { color: colour("--ink") } : {}) };
      layout[name] = axis;
    }
    return layout;
  }

  const hidden = new Set();
  const dressed = (figure) =>
    figure.data.map((trace) => (hidden.has(trace.meta?.variant) ? { ...trace, visible: false } : trace));

  function layoutOf(plot) {
    const layout = themed(plot.figure, plot.box);
    if (layout.shapes) layout.shapes = layout.shapes.map((shape) => ({ ...shape, visible: !hidden.has(shape.name) }));
    return layout;
  }

  const draw = (plot) => Plotly.react(plot.box, dressed(plot.figure), layoutOf(plot), config);
  const drawAll = () => Promise.all(plots.map(draw));

  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("simctl-theme", root.dataset.theme); } catch { /* a page opened from a file may not */ }
    drawAll();
  });
  preference.addEventListener("change", drawAll);

  // -- variants off and on

  for (const chip of document.querySelectorAll(".chips button")) {
    chip.addEventListener("click", () => {
      const name = chip.dataset.variant;
      if (!hidden.delete(name)) hidden.add(name);
      chip.setAttribute("aria-pressed", String(!hidden.has(name)));
      drawAll();
    });
  }

  // -- one waterfall at a time

  const choice = document.getElementById("waterfall-choice");
  const choose = () => {
    for (const option of choice.options) {
      const box = document.getElementById(option.value);
      box.closest(".panel").hidden = option.value !== choice.value;
    }
    Plotly.Plots.resize(document.getElementById(choice.value));
  };
  if (choice) choice.addEventListener("change", choose);

  // -- take along

  document.getElementById("copy").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    const command = document.getElementById("command");
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command);
      button.textContent = "Selected";
    }
  });
  document.getElementById("save").addEventListener("click", () => {
    const results = JSON.parse(document.querySelector('script[data-for="results"]').textContent);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(results, null, 1) + "\n"], { type: "application/json" }));
    link.download = "results.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  await drawAll();
  if (choice) choose();
  root.dataset.drawn = String(plots.length);
})();
