// One cell's record, in a dialog that has an address of its own: `#cell=<id>`.

const dialog = byId("cell");
const PARTS = [
  ["What was measured", ["labels", "spec.model", "spec.compressor", "spec.calibration", "spec.sae", "spec.site", "spec.data", "spec.tasks", "spec.seed"]],
  ["Compression", ["compression"]],
  ["SAE", ["sae"]],
  ["Details", ["details"]],
  ["Run", ["created_at", "phases", "environment"]],
];

// Objects and lists as nested lists of terms; what is short stands on one line.
function shown(value) {
  if (value === null) return "none";
  if (typeof value !== "object") return String(value);
  const entries = Object.entries(value);
  const text = JSON.stringify(value);
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join(", ") || "none";
  if (!entries.length) return "none";
  if (Array.isArray(value) && text.length < 60) return text;
  return element("dl", {}, ...entries.map(([name, item]) => element("div", {}, element("dt", {}, name), element("dd", {}, shown(item)))));
}

function part(cell, title, names) {
  const found = names.filter((name) => cell.record[name] !== undefined);
  if (!found.length) return null;
  const whole = found.length === 1 && names.length === 1;
  const content = whole
    ? pool[cell.record[found[0]]]
    : Object.fromEntries(found.map((name) => [name.replace("spec.", ""), pool[cell.record[name]]]));
  return element("details", {}, element("summary", {}, title), shown(content));
}

// What a table of figures may show; columns that would stay empty are left out.
const FIGURE_COLUMNS = [
  ["value", (cell, place) => figure(cell, place).split(" ± ")[0], "number"],
  ["95 % interval", (cell, place) => intervalOf(cell, place)?.map(number).join(" to ") ?? "", "number"],
  ["n", (cell, place) => pool[cell.n][place]?.toLocaleString("en") ?? "", "number"],
  ["reason", (cell, place) => reasonOf(cell, place) ?? "", "reason"],
];

function figureRow(cell, place, columns) {
  const head = element("th", { scope: "row", tabindex: 0 }, heading(quantities[place]));
  describe(head, quantities[place].definition);
  return element("tr", {}, head, ...columns.map(([, text, kind]) => element("td", { class: kind }, text(cell, place))));
}

function figuresOf(cell, group) {
  const places = quantities.map((_, place) => place).filter((place) => quantities[place].group === group);
  const known = places.filter((place) => valueOf(cell, place) !== null || reasonOf(cell, place));
  if (!known.length) return null;
  const columns = FIGURE_COLUMNS.filter(([, text]) => known.some((place) => text(cell, place) !== ""));
  const heads = [["number"], ...columns].map(([title, , kind]) => element("th", { scope: "col", class: kind }, title));
  const open = known.some((place) => quantities[place].shown);
  return element(
    "details",
    { open },
    element("summary", {}, `${group}: ${known.length} ${known.length === 1 ? "figure" : "figures"}`),
    element(
      "div",
      { class: "wide" },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, ...known.map((place) => figureRow(cell, place, columns))),
      ),
    ),
  );
}

function failureOf(cell) {
  if (cell.record.error === undefined) return null;
  const { phase, type, message, traceback } = pool[cell.record.error];
  return element(
    "section",
    { class: "failure" },
    element("p", {}, `${cell.status} in phase ${phase}: ${type}: ${message}`),
    traceback ? element("details", {}, element("summary", {}, "Traceback"), element("pre", {}, traceback)) : null,
  );
}

function fillDialog(cell) {
  const close = element("button", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "Close");
  const groups = quantityGroups();
  dialog.replaceChildren(
    element("div", { class: "bar" }, element("h2", { id: "cell-title" }, nameOf(cell)), close),
    element("p", { class: "quiet" }, `${cell.model}, ${cell.source} SAE, cell ${cell.id}, ${cell.status}`),
    ...(cell.notes.length ? [element("ul", {}, ...cell.notes.map((note) => element("li", {}, note)))] : []),
    ...[
      failureOf(cell),
      ...groups.map((group) => figuresOf(cell, group)),
      ...PARTS.map(([title, names]) => part(cell, title, names)),
    ].filter(Boolean),
    element("p", { class: "quiet" }, `The whole record, with what each document and each latent adds: ${cell.file}`),
  );
  dialog.scrollTop = 0;
}

function openFromAddress() {
  const key = location.hash.startsWith("#cell=") ? location.hash.slice("#cell=".length) : null;
  const cell = cellOf.get(key);
  if (!cell?.record) {
    if (dialog.open) dialog.close();
    return;
  }
  fillDialog(cell);
  if (!dialog.open) dialog.showModal();
}

function openCell(cell) {
  location.hash = `cell=${cell.key}`;
}

dialog.addEventListener("close", () => {
  hideTooltip();
  if (location.hash.startsWith("#cell=")) history.replaceState(null, "", location.pathname + location.search);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
window.addEventListener("hashchange", openFromAddress);
