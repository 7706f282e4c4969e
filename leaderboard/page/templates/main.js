// Starts everything; tests wait for `data-ready`.

startFilters();
await startTable();
startPlots();
changed();
openFromAddress();
document.documentElement.dataset.ready = "true";
