// The table of cells. DataTables sorts and pages; what is in view is the filters' to say.

const PAGE_LENGTH = 50;
const STATUS_LENGTH = 48;
const FIRST_ON_PHONES = ["perplexity.transfer_gap", "overlap.survived"];
const chosen = quantities.map((quantity) => (onPhone ? FIRST_ON_PHONES.includes(quantity.name) : quantity.shown));
let DataTable = null;
let table = null;

// Cells without a value stay behind those with one, whichever way the figures are sorted.
function inOrder(sign) {
  return (first, second) => {
    if (first === null || second === null) return (first === null) - (second === null);
    return sign * (first - second);
  };
}

async function loadDataTables() {
  const code = new Blob([byId("datatables").textContent], { type: "text/javascript" });
  const address = URL.createObjectURL(code);
  ({
    jQuery: {
      fn: { dataTable: DataTable },
    },
  } = await import(address));
  URL.revokeObjectURL(address);
  // Values from the attributes of a table are texts.
  const pre = (value) => (value === null || value === "" ? null : Number(value));
  DataTable.type("figure", { order: { pre, asc: inOrder(1), desc: inOrder(-1) }, className: "number" });
}

function nameColumn(title, of, extra = {}) {
  return { name: title, title, data: null, type: "string", render: (cell, kind) => (kind === "display" ? "" : of(cell)), ...extra };
}

function show(of) {
  return (node, cell) => {
    node.append(of(cell));
  };
}

function compressorColumn() {
  return nameColumn("compressor", (cell) => cell.compressor, {
    cellType: "th",
    createdCell: (node, _, cell) => {
      node.scope = "row";
      if (cell.status === "missing") node.append(cell.compressor);
      else node.append(element("a", { href: `#cell=${cell.key}` }, cell.compressor));
    },
  });
}

function textColumn(title, of, extra = {}) {
  return nameColumn(title, of, { createdCell: (node, _, cell) => show(of)(node, cell), ...extra });
}

function statusText(cell) {
  return cell.status === "ok" ? "ok" : cell.reason || cell.status;
}

function shortened(text) {
  return text.length > STATUS_LENGTH ? `${text.slice(0, STATUS_LENGTH - 1).trimEnd()}…` : text;
}

function statusColumn() {
  return nameColumn("status", (cell) => cell.status, {
    className: "status",
    createdCell: (node, _, cell) => {
      node.classList.add(cell.status);
      node.append(shortened(statusText(cell)));
      if (cell.notes?.length) {
        const mark = element("span", { class: "mark", tabindex: 0 }, "note");
        describe(mark, cell.notes.join("; "));
        node.append(" ", mark);
      }
    },
  });
}

function quantityColumn(place) {
  const quantity = quantities[place];
  return {
    name: quantity.name,
    title: heading(quantity),
    data: null,
    type: "figure",
    orderSequence: quantity.better > 0 ? ["desc", "asc", ""] : ["asc", "desc", ""],
    render: (cell, kind) => (kind === "display" ? figure(cell, place) : valueOf(cell, place)),
    createdCell: (node, _, cell) => {
      if (cell.best.includes(place)) node.classList.add("best");
      const reason = reasonOf(cell, place);
      if (reason) {
        node.tabIndex = 0;
        describe(node, `no value: ${reason}`);
      }
    },
  };
}

function tableColumns() {
  const several = sets.length > 1;
  const figures = quantities.map((_, place) => place).filter((place) => chosen[place]);
  return [
    ...(several ? [textColumn("set", (cell) => setName(sets[cell.set]), { visible: filters.set === ALL_SETS })] : []),
    compressorColumn(),
    textColumn("SAE", (cell) => cell.sae),
    ...figures.map(quantityColumn),
    statusColumn(),
  ];
}

// Built anew when columns are chosen: DataTables works only on what is shown.
function buildTable() {
  const order = table ? table.order().map(([column, way]) => [table.settings()[0].aoColumns[column].name, way]) : [];
  if (table) {
    table.destroy();
    byId("table").replaceChildren();
  }
  const columns = tableColumns();
  const kept = order.map(([name, way]) => [columns.findIndex((column) => column.name === name), way]);
  table = new DataTable("#table", {
    data: cells,
    columns,
    order: kept.filter(([column]) => column >= 0),
    // Figures of different sets are not comparable: sorting never mixes them.
    orderFixed: sets.length > 1 ? { pre: [[0, "asc"]] } : undefined,
    autoWidth: false,
    pageLength: PAGE_LENGTH,
    layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: "paging" },
    language: {
      info: "Cells _START_ to _END_ of _TOTAL_",
      infoEmpty: "No cells",
      infoFiltered: "",
      emptyTable: "No cells.",
      zeroRecords: "No cell is in view: widen the filters.",
    },
    drawCallback() {
      const pages = this.api().page.info().pages;
      this.api().table().container().querySelector(".dt-paging").hidden = pages < 2;
    },
  });
  table.search.fixed("in view", (_, cell) => isVisible(cell));
  table.draw();
  describeHeadings(columns);
}

function describeHeadings(columns) {
  table.columns().every(function () {
    const quantity = quantities[placeOf.get(columns[this.index()].name)];
    const head = this.header();
    if (!quantity || !head) return;
    describe(head, quantity.definition);
    const sorter = head.querySelector(".dt-column-order");
    if (sorter && quantity.definition) sorter.setAttribute("aria-description", quantity.definition);
  });
}

function fillColumns() {
  const places = quantities.map((_, place) => place);
  const fieldsets = quantityGroups().map((group) =>
    element(
      "fieldset",
      {},
      element("legend", {}, group),
      ...places.filter((place) => quantities[place].group === group).map(columnBox),
    ),
  );
  byId("columns").lastElementChild.replaceChildren(...fieldsets);
}

function columnBox(place) {
  const box = checkbox(heading(quantities[place]), chosen[place], (checked) => {
    chosen[place] = checked;
    buildTable();
  });
  describe(box, quantities[place].definition);
  return box;
}

async function startTable() {
  await loadDataTables();
  fillColumns();
  buildTable();
  whenFiltersChange.push(() => {
    if (sets.length > 1) table.column(0).visible(filters.set === ALL_SETS);
    table.draw();
  });
}
