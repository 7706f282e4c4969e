// Which cells are in view. The plots and the table always show the same ones.

const ALL_SETS = "all";
const filters = { set: sets.length ? "0" : ALL_SETS, compressors: null, saes: null, statuses: null, words: [] };
const whenFiltersChange = [];

const MENUS = {
  compressors: { one: "compressor", of: (cell) => cell.compressor },
  saes: { one: "SAE", of: (cell) => cell.sae },
  statuses: { one: "status", of: (cell) => cell.status },
};

cells.forEach((cell) => {
  const texts = [cell.model, cell.compressor, cell.sae, cell.site, cell.source, cell.method, cell.status, cell.reason, cell.id];
  cell.text = [...texts, ...(cell.notes ?? [])].filter(Boolean).join(" ").toLowerCase();
});

function inSet(cell) {
  return filters.set === ALL_SETS || cell.set === Number(filters.set);
}

function isVisible(cell) {
  return (
    inSet(cell) &&
    Object.entries(MENUS).every(([name, menu]) => filters[name] === null || filters[name].has(menu.of(cell))) &&
    filters.words.every((word) => cell.text.includes(word))
  );
}

function visibleCells() {
  return cells.filter(isVisible);
}

function changed() {
  const count = visibleCells().length;
  const total = cells.filter(inSet).length;
  byId("count").textContent = count === total ? `${total} cells` : `${count} of ${total} cells`;
  whenFiltersChange.forEach((change) => change());
}

// Names in the order of the cells, which is that of the board.
function choices(of) {
  return [...new Set(cells.filter(inSet).map(of))];
}

function fillMenu(name) {
  const { of } = MENUS[name];
  const names = choices(of);
  const boxes = names.map((choice) =>
    checkbox(choice, filters[name]?.has(choice) ?? true, () => {
      const chosen = names.filter((_, place) => boxes[place].firstChild.checked);
      filters[name] = chosen.length === names.length ? null : new Set(chosen);
      summarise(name, names.length);
      changed();
    }),
  );
  const all = (checked) => () => {
    boxes.forEach((box) => (box.firstChild.checked = checked));
    filters[name] = checked ? null : new Set();
    summarise(name, names.length);
    changed();
  };
  const buttons = element(
    "div",
    { class: "buttons" },
    element("button", { type: "button", onclick: all(true) }, "All"),
    element("button", { type: "button", onclick: all(false) }, "None"),
  );
  byId(name).lastElementChild.replaceChildren(buttons, ...boxes);
  summarise(name, names.length);
}

function summarise(name, total) {
  const chosen = filters[name] === null ? total : filters[name].size;
  const title = { compressors: "Compressors", saes: "SAEs", statuses: "Status" }[name];
  byId(name).firstElementChild.textContent = chosen === total ? `${title}: all` : `${title}: ${chosen} of ${total}`;
}

function resetFilters() {
  Object.assign(filters, { compressors: null, saes: null, statuses: null, words: [] });
  byId("search").value = "";
  Object.keys(MENUS).forEach(fillMenu);
}

function setName(set) {
  const alone = sets.filter((other) => other.model === set.model).length === 1;
  return alone ? set.model : `${set.model}: ${set.suites}, ${set.facts}`;
}

function startFilters() {
  sets.forEach((set, place) => byId("set").append(element("option", { value: place }, setName(set))));
  byId("set-label").hidden = sets.length < 2;
  if (sets.length > 1) byId("set").append(element("option", { value: ALL_SETS }, "all, one after the other"));
  byId("set").addEventListener("change", () => {
    filters.set = byId("set").value;
    resetFilters();
    changed();
  });
  byId("search").addEventListener("input", () => {
    filters.words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    changed();
  });
  byId("reset").addEventListener("click", () => {
    resetFilters();
    changed();
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  resetFilters();
  byId("filters").hidden = false;
}

// A menu closes when the reader turns to something else, or with Escape.
document.addEventListener("click", (event) => {
  document.querySelectorAll("details.menu[open]").forEach((menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
});
document.addEventListener("keydown", (event) => {
  const open = event.target.closest?.("details.menu[open]");
  if (event.key === "Escape" && open) {
    open.open = false;
    open.firstElementChild.focus();
  }
});
