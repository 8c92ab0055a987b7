// uPlot in place of the drawings of the server, which stay for print. Values come from attributes, colours from the style sheet.
"use strict";

{
  const MINUTE = 60;
  const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7]; // there is no half request
  const plots = new Map(); // by the figure's id: a refresh brings a new figure, and the plot moves into it

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = (at) => new Date(at * 1000).toISOString().slice(11, 16);
  const said = (value, unit) => (value === null ? "none" : unit ? `${value} ${unit}` : `${value}`);

  // The minutes' beginnings (epoch seconds), and their values.
  const read = (figure) => {
    const values = figure.dataset.values.split(" ").map((text) => (text === "-" ? null : Number(text)));
    const first = Number(figure.dataset.end) - values.length * MINUTE;
    return [values.map((_, place) => first + place * MINUTE), values];
  };

  const axis = (more) => ({
    stroke: () => colour("--soft"),
    font: `11px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { show: false },
    ...more,
  });

  const options = (figure, plot) => {
    const fill = () => colour(figure.dataset.tone === "bad" ? "--red" : "--blue");
    return {
      ...size(plot),
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      padding: [6, 8, 0, 0],
      scales: { x: { range: (_, first, last) => [first, last + MINUTE] }, y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.05] } },
      axes: [
        axis({ size: 20, gap: 3, space: 60, values: (_, ticks) => ticks.map(clock) }),
        axis({ size: 40, gap: 4, space: 26, incrs: figure.dataset.unit ? undefined : WHOLE }),
      ],
      series: [
        {},
        { fill, stroke: fill, width: 0, paths: uPlot.paths.bars({ size: [0.8, 12], align: 1 }), points: { show: false } },
      ],
      hooks: { setCursor: [tell] },
    };
  };

  const size = (plot) => ({ width: plot.clientWidth, height: plot.clientHeight });

  // Where the cursor stands is said in the caption, and to who does not see it by the slider's value.
  const tell = (chart) => {
    const plot = chart.root.parentElement;
    const figure = plot?.closest("figure");
    if (!figure) return;
    const place = chart.cursor.idx ?? null;
    const caption = figure.querySelector("figcaption");
    figure.dataset.summary ??= caption.textContent;
    const words = place === null ? "" : `${clock(chart.data[0][place])} UTC: ${said(chart.data[1][place], figure.dataset.unit)}`;
    caption.textContent = words || figure.dataset.summary;
    plot.setAttribute("aria-valuenow", place ?? chart.data[0].length - 1);
    plot.setAttribute("aria-valuetext", words || figure.dataset.summary);
  };

  const go = (chart, place) => {
    const left = place === null ? -10 : chart.valToPos(chart.data[0][place] + MINUTE / 2, "x");
    chart.setCursor({ left, top: place === null ? -10 : 1 });
  };

  const keys = (event) => {
    const chart = plots.get(event.currentTarget.closest("figure").id);
    const last = chart.data[0].length - 1;
    const at = chart.cursor.idx ?? last;
    const place = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 10, PageDown: at + 10, Home: 0, End: last, Escape: null }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    go(chart, place === null ? null : Math.min(last, Math.max(0, place)));
  };

  const draw = (figure) => {
    const data = read(figure);
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.id = `${figure.id}-plot`;
    plot.tabIndex = 0;
    for (const [name, value] of Object.entries({
      role: "slider", "aria-label": `${figure.dataset.title}, by the minute`, "aria-valuemin": 0, "aria-valuemax": data[0].length - 1,
    })) plot.setAttribute(name, value);
    plot.addEventListener("keydown", keys);
    figure.prepend(plot);
    figure.classList.add("drawn");
    const before = plots.get(figure.id);
    if (before) {
      plot.append(before.root);
      before.setData(data);
      tell(before);
    } else {
      plots.set(figure.id, new uPlot(options(figure, plot), data, plot));
      tell(plots.get(figure.id));
    }
    widths.observe(plot);
  };

  const widths = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = plots.get(target.parentElement?.id);
      if (chart && target.clientWidth && target.clientWidth !== chart.width) chart.setSize(size(target));
    }
  });

  const drawAll = (fresh) => {
    for (const figure of fresh.querySelectorAll("figure.chart:not(.drawn)")) draw(figure);
  };
  drawAll(document);
  document.addEventListener("htmx:load", (event) => drawAll(event.target));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const chart of plots.values()) chart.redraw();
  });
}
