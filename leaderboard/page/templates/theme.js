// Dark or light: as the system asks, unless the reader says otherwise.

const THEME = "saetransfer-theme";
const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");
const whenThemeChanges = [];

function remembered() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // Some browsers give files no storage.
  }
}

function remember(theme) {
  try {
    localStorage.setItem(THEME, theme);
  } catch {
    // Then the choice lasts as long as the page.
  }
}

function applyTheme(theme) {
  const dark = theme === "dark";
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = dark ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
  whenThemeChanges.forEach((change) => change());
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

byId("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  remember(theme);
  applyTheme(theme);
});
systemIsDark.addEventListener("change", () => {
  if (!remembered()) applyTheme(systemIsDark.matches ? "dark" : "light");
});
applyTheme(remembered() ?? (systemIsDark.matches ? "dark" : "light"));
