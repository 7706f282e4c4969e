// The boards that stand in the page as tables: sorted in place, with the columns that there is room for, and without
// the rows of which no cell is in view.

const MOST_PRIORITY = onPhone ? 1 : 3;

function startBoard(section) {
  const node = section.querySelector("table");
  const heads = [...node.querySelectorAll("thead th")];
  heads.filter((head) => head.dataset.definition).forEach((head) => describe(head, head.dataset.definition));
  const lesser = heads.map((head, place) => [Number(head.dataset.priority), place]).filter(([priority]) => priority > MOST_PRIORITY);
  const columnDefs = [
    { targets: heads.flatMap((head, place) => (head.classList.contains("number") ? [place] : [])), type: "figure" },
    { targets: lesser.map(([, place]) => place), visible: false },
  ];
  const board = new DataTable(node, { columnDefs, order: [], autoWidth: false, paging: false, info: false, layout: { topStart: null, topEnd: null } });
  board.columns().every(function () {
    const definition = this.header().dataset.definition;
    if (definition) this.header().querySelector(".dt-column-order")?.setAttribute("aria-description", definition);
  });
  const box = section.querySelector(".all");
  if (box) {
    box.hidden = false;
    box.firstElementChild.addEventListener("change", (event) => {
      board.columns(lesser.map(([, place]) => place)).visible(event.target.checked);
    });
  }
  linkCells(board);
  board.search.fixed("in view", (_, __, index) => {
    const ids = board.row(index).node().dataset.cells;
    return !ids || ids.split(" ").some((id) => isVisible(cellOf.get(id)));
  });
  return board;
}

// A row of one cell opens it.
function linkCells(board) {
  board.rows().every(function () {
    const ids = this.node().dataset.cells.split(" ");
    if (ids.length !== 1 || !cellOf.has(ids[0])) return;
    const name = [...this.node().cells].find((node) => !node.classList.contains("number"));
    name.replaceChildren(element("a", { href: `#cell=${ids[0]}` }, ...name.childNodes));
  });
}

function showSets() {
  document.querySelectorAll("[data-set]").forEach((part) => {
    part.hidden = filters.set !== ALL_SETS && part.dataset.set !== filters.set;
  });
}

function startBoards() {
  const boards = [...document.querySelectorAll("section.board")].map(startBoard);
  whenFiltersChange.push(() => {
    showSets();
    boards.filter((board) => !board.table().node().closest("[data-set]").hidden).forEach((board) => board.draw());
  });
}
