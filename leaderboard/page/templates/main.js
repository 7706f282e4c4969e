// Starts everything; tests wait for `data-ready`.

startFilters();
await startTable();
startBoards();
startPlots();
changed();
openFromAddress();
document.documentElement.dataset.ready = "true";
