// Two plots of the cells in view: what compression costs, and which features survive it.

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "x"];

// Nothing is sent anywhere: by default a button would upload the chart.
const PLOT_CONFIG = {
  displaylogo: false,
  responsive: true,
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
};

const plots = [
  {
    id: "pareto",
    title: "Size against what is lost",
    about: "The dotted line is the Pareto front of the cells in view: no cell is better than one on it in both figures. Random SAEs do not count.",
    x: "state.size",
    y: "perplexity.transfer_gap",
    by: "sae",
    front: true,
  },
  {
    id: "survival",
    title: "Survival",
    about: "States of one method are joined, from the strongest to the weakest.",
    x: "state.bits",
    y: "overlap.survived",
    by: "method",
    joined: true,
    frozenOnly: true,
  },
];
const GROUPINGS = { sae: "SAE", method: "method" };

function options(selected) {
  return quantityGroups().map((group) =>
    element(
      "optgroup",
      { label: group },
      ...quantities
        .map((quantity, place) => [quantity, place])
        .filter(([quantity]) => quantity.group === group)
        .map(([quantity, place]) => element("option", { value: place, selected: place === selected }, heading(quantity))),
    ),
  );
}

function axisChoice(plot, axis) {
  const select = element("select", { "data-axis": axis }, ...options(plot[axis]));
  select.addEventListener("change", () => {
    plot[axis] = Number(select.value);
    draw(plot);
  });
  return element("label", {}, `${axis} `, select);
}

function colourChoice(plot) {
  const select = element(
    "select",
    {},
    ...Object.entries(GROUPINGS).map(([by, name]) => element("option", { value: by, selected: by === plot.by }, name)),
  );
  select.addEventListener("change", () => {
    plot.by = select.value;
    draw(plot);
  });
  return element("label", {}, "colour ", select);
}

function frozenChoice(plot) {
  return checkbox("frozen SAEs only", plot.frozenOnly ?? false, (checked) => {
    plot.frozenOnly = checked;
    draw(plot);
  });
}

// The cells that have both figures.
function plotted(plot) {
  const known = (cell) =>
    valueOf(cell, plot.x) !== null && valueOf(cell, plot.y) !== null && (cell.frozen || !plot.frozenOnly);
  return filters.set === ALL_SETS && sets.length > 1 ? [] : visibleCells().filter(known);
}

function seriesOf(plot, points) {
  const series = new Map();
  const severalSaes = new Set(points.map((cell) => cell.sae)).size > 1;
  const byMethod = (cell) => (severalSaes ? `${cell.method}, ${cell.sae}` : cell.method);
  const nameIn = plot.by === "sae" ? (cell) => cell.sae : byMethod;
  points.forEach((cell) => {
    const name = nameIn(cell);
    if (!series.has(name)) series.set(name, []);
    series.get(name).push(cell);
  });
  return series;
}

function trace(plot, [name, points], place) {
  const ordered = plot.joined ? [...points].sort((first, second) => valueOf(first, plot.x) - valueOf(second, plot.x)) : points;
  const x = ordered.map((cell) => valueOf(cell, plot.x));
  const y = ordered.map((cell) => valueOf(cell, plot.y));
  const intervals = ordered.map((cell) => intervalOf(cell, plot.y));
  return {
    type: "scatter",
    mode: plot.joined ? "lines+markers" : "markers",
    name: plotText(name),
    x,
    y,
    error_y: {
      type: "data",
      symmetric: false,
      array: intervals.map((interval, index) => (interval ? interval[1] - y[index] : 0)),
      arrayminus: intervals.map((interval, index) => (interval ? y[index] - interval[0] : 0)),
      thickness: 1,
      width: 0,
    },
    marker: { size: 8, symbol: SYMBOLS[place % SYMBOLS.length], color: seriesColour(place) },
    line: { width: 1, color: seriesColour(place) },
    customdata: ordered.map((cell) => [cell.key, plotText(nameOf(cell)), plotText(figure(cell, plot.x)), plotText(figure(cell, plot.y))]),
    hovertemplate: `<b>%{customdata[1]}</b><br>${axisTitle(plot.x)}: %{customdata[2]}<br>${axisTitle(plot.y)}: %{customdata[3]}<extra></extra>`,
    visible: ordered.every((cell) => cell.source === "random") && plot.by === "sae" ? "legendonly" : true,
  };
}

function seriesColour(place) {
  return colour(`series-${(place % SYMBOLS.length) + 1}`);
}

function axisTitle(place) {
  return plotText(heading(quantities[place]));
}

// Cells that no other cell beats in one figure without being worse in the other, from left to right.
function paretoFront(plot, points) {
  const sign = (place) => quantities[place].better;
  if (!sign(plot.x) || !sign(plot.y)) return [];
  const real = points.filter((cell) => cell.source !== "random");
  const best = [...real].sort(
    (first, second) =>
      sign(plot.x) * (valueOf(second, plot.x) - valueOf(first, plot.x)) ||
      sign(plot.y) * (valueOf(second, plot.y) - valueOf(first, plot.y)),
  );
  let record = -Infinity;
  return best.filter((cell) => {
    const worth = sign(plot.y) * valueOf(cell, plot.y);
    const ahead = worth > record;
    record = Math.max(record, worth);
    return ahead;
  });
}

// From the best in x step by step to the best in y, and on from there: what lies behind the line is beaten.
function frontTrace(plot, points) {
  const front = paretoFront(plot, points);
  if (!front.length) return [];
  const xs = points.map((cell) => valueOf(cell, plot.x));
  const worst = quantities[plot.x].better > 0 ? Math.min(...xs) : Math.max(...xs);
  return [
    {
      type: "scatter",
      mode: "lines",
      name: "Pareto front",
      x: [...front.map((cell) => valueOf(cell, plot.x)), worst],
      y: [...front.map((cell) => valueOf(cell, plot.y)), valueOf(front.at(-1), plot.y)],
      line: { shape: "hv", dash: "dot", width: 1.5, color: colour("quiet") },
      hoverinfo: "skip",
    },
  ];
}

function axis(place) {
  return {
    title: { text: axisTitle(place), font: { size: 13 }, standoff: 8 },
    tickformat: quantities[place].unit === "%" ? ".0%" : undefined,
    gridcolor: colour("line"),
    linecolor: colour("line"),
    zerolinecolor: colour("quiet"),
    zerolinewidth: 1,
    automargin: true,
  };
}

function layout(plot) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: colour("text") },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text") }, align: "left" },
    margin: { l: 50, r: 10, t: 10, b: 40 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("text") },
    hovermode: "closest",
    legend: { orientation: "h", y: -0.22, font: { size: 12 } },
    xaxis: axis(plot.x),
    yaxis: axis(plot.y),
    showlegend: true,
  };
}

function draw(plot) {
  const points = plotted(plot);
  plot.empty.hidden = points.length > 0;
  plot.canvas.hidden = points.length === 0;
  if (!points.length) return;
  const traces = [...seriesOf(plot, points)].map((series, place) => trace(plot, series, place));
  Plotly.react(plot.canvas, [...(plot.front ? frontTrace(plot, points) : []), ...traces], layout(plot), PLOT_CONFIG);
  const text = `${plot.title}: ${points.length} cells, ${heading(quantities[plot.x])} against ${heading(quantities[plot.y])}; their figures stand in the table.`;
  plot.canvas.setAttribute("aria-label", text);
}

function startPlot(plot) {
  const figureElement = byId(plot.id);
  plot.canvas = element("div", { class: "plot", role: "img" });
  plot.empty = element("p", { class: "quiet", hidden: true }, "No cell in view has both figures, or several sets are in view, which are not comparable.");
  figureElement.append(
    element(
      "figcaption",
      {},
      element("h3", { id: `${plot.id}-title` }, plot.title),
      element("div", { class: "choices" }, axisChoice(plot, "x"), axisChoice(plot, "y"), colourChoice(plot), frozenChoice(plot)),
    ),
    plot.canvas,
    plot.empty,
    element("p", { class: "quiet" }, plot.about),
  );
  draw(plot);
  plot.canvas.on?.("plotly_click", ({ points }) => {
    const cell = cellOf.get(points[0].customdata?.[0]);
    if (cell) openCell(cell);
  });
}

function startPlots() {
  plots.forEach((plot) => {
    plot.x = placeOf.get(plot.x);
    plot.y = placeOf.get(plot.y);
    if (plot.x === undefined || plot.y === undefined) byId(plot.id).remove();
    else startPlot(plot);
  });
  const drawn = plots.filter((plot) => plot.canvas);
  whenFiltersChange.push(() => drawn.forEach(draw));
  whenThemeChanges.push(() => drawn.forEach(draw));
}
