// What the tests do in the browser. Each takes the driver's world and its arguments, and returns
// plain values; what is right or wrong is decided by the tests.
import fs from "node:fs";

const grid = (page) => page.getByTestId("treegrid");
const row = (page, name, level = 1) =>
  grid(page).locator(`[role=row][aria-level="${level}"]`).filter({
    has: page.locator('[role=gridcell][data-column="name"]', { hasText: name }),
  });

export const open = async ({ page }, { url }) => {
  await page.goto(url);
};

export const logIn = async ({ page }, { user, password }) => {
  await page.getByLabel("User").fill(user);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
};

export const waitForMap = async ({ page }, { nodes = 1 }) => {
  await page.waitForFunction(
    (least) => Number(document.querySelector("[data-drawn]")?.dataset.drawn ?? 0) >= least,
    nodes,
  );
};

export const waitForText = async ({ page }, { text }) => {
  await page.getByText(text).first().waitFor();
};

/** The Console yields to everything else on its host: where that is a lot, its answers are late. */
export const waitForLive = async ({ page }) => {
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor({ timeout: 60_000 });
};

export const path = async ({ page }) => new URL(page.url()).pathname;

/** Pixels of the map that differ from its ground: a map that draws nothing has none. */
export const inkOnMap = async ({ page }) => {
  await page.waitForTimeout(800);
  const shot = await page.getByTestId("map").screenshot();
  return page.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    const bitmap = await createImageBitmap(
      new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type: "image/png" }),
    );
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    let blue = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      if (pixels[i + 2] > 200 && pixels[i] < 110 && pixels[i + 1] < 170) blue++;
    }
    return blue;
  }, shot.toString("base64"));
};

/** Presses a segment (Containers, Hosts, Map, Table, All, Connected). */
export const choose = async ({ page }, { name }) => {
  // The radio itself is hidden; a person clicks its label.
  await page.locator("label").filter({ hasText: new RegExp(`^${name}$`) }).click();
  await page.getByRole("radio", { name, exact: true, checked: true }).waitFor({ state: "attached" });
};

/** The table's rows on one level, as text by column. */
export const rows = async ({ page }, { level = 1 }) => {
  await grid(page).waitFor();
  return grid(page)
    .locator(`[role=rowgroup] [role=row][aria-level="${level}"]`)
    .evaluateAll((list) =>
      list.map((element) =>
        Object.fromEntries(
          [...element.querySelectorAll("[role=gridcell]")].map((cell) => [
            cell.dataset.column,
            cell.textContent.trim(),
          ]),
        ),
      ),
    );
};

export const waitForRow = async ({ page }, { name, level = 1, text = "" }) => {
  await row(page, name, level).filter({ hasText: text }).first().waitFor();
};

export const expand = async ({ page }, { name, level = 1 }) => {
  const found = row(page, name, level).first();
  if ((await found.getAttribute("aria-expanded")) !== "true") {
    await found.locator("[data-expanded]").first().click();
  }
};

export const clickRow = async ({ page }, { name, level = 1 }) => {
  await row(page, name, level).first().click();
};

export const focusRow = async ({ page }, { name }) => {
  await row(page, name).first().focus();
};

export const press = async ({ page }, { keys }) => {
  for (const key of keys) {
    await page.keyboard.press(key);
    await page.waitForTimeout(80);
  }
};

/** What has the keyboard's focus. */
export const focused = async ({ page }) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return {
      role: element?.getAttribute("role") ?? element?.tagName.toLowerCase(),
      level: element?.getAttribute("aria-level"),
      expanded: element?.getAttribute("aria-expanded"),
      column: element?.getAttribute("data-column"),
      text: (element?.querySelector("[data-column=name]") ?? element)?.textContent?.trim(),
    };
  });

export const panelText = async ({ page }) => {
  const panel = page.getByTestId("panel");
  await panel.waitFor();
  return panel.innerText();
};

export const panelTab = async ({ page }, { name }) => {
  await page.getByTestId("panel").getByRole("tab", { name }).click();
  await page.waitForTimeout(200);
};

export const closePanel = async ({ page }) => {
  await page.getByLabel("Close the panel").click();
};

/** Clicks the map's first node from the left in its middle row of ink, by way of the search. */
export const search = async ({ page }, { text }) => {
  const field = page.getByLabel("Search nodes");
  await field.fill(text);
  await field.press("Enter");
};

export const clickMapMiddle = async ({ page }, { dx = 0, dy = 0 }) => {
  await page.waitForTimeout(700);
  const box = await page.getByTestId("map").boundingBox();
  await page.mouse.click(box.x + box.width / 2 + dx, box.y + box.height / 2 + dy);
};

export const bannerText = async ({ page }) => {
  const banner = page.getByRole("complementary", { name: "Limited view" });
  return (await banner.count()) === 0 ? "" : banner.innerText();
};

/** Turns a switch of the banner and says yes. */
export const enable = async ({ page }, { part }) => {
  await page
    .getByRole("complementary", { name: "Limited view" })
    .getByRole("switch", { name: `Enable for ${part}` })
    // Not check(): the switch stays as it is until the dialog is answered.
    .click({ force: true });
  await page.getByRole("dialog").getByRole("button", { name: "Enable" }).click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
};

export const waitForNoBanner = async ({ page }) => {
  await page.getByRole("complementary", { name: "Limited view" }).waitFor({ state: "detached" });
};

export const theme = async ({ page }) =>
  page.evaluate(() => ({
    scheme: document.documentElement.dataset.mantineColorScheme,
    ground: getComputedStyle(document.body).backgroundColor,
  }));

export const switchTheme = async ({ page }) => {
  await page.getByRole("button", { name: /Switch to (dark|light) theme/ }).click();
};

export const systemTheme = async ({ page }, { scheme }) => {
  await page.emulateMedia({ colorScheme: scheme });
};

export const reload = async ({ page }) => {
  await page.reload();
};

export const forgetTheme = async ({ page }) => {
  await page.evaluate(() => localStorage.removeItem("cnnf-color-scheme"));
};

export const openHealth = async ({ page }) => {
  await page.getByTestId("health").click();
  const text = await page.getByRole("dialog", { name: /health/i }).innerText();
  await page.keyboard.press("Escape");
  return text;
};

export const viewport = async ({ page }, { width, height }) => {
  await page.setViewportSize({ width, height });
};

export const sidewaysOverflow = async ({ page }) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Until nothing is on its way to another look, but for what never ends: colours are as they stay. */
const atRest = (page) =>
  page.waitForFunction(() =>
    document
      .getAnimations()
      .every((one) => one.effect.getComputedTiming().endTime === Number.POSITIVE_INFINITY),
  );

/** Violations that axe calls serious or critical. */
export const audit = async ({ page, axe }) => {
  await page.waitForTimeout(400);
  await atRest(page);
  await page.evaluate(fs.readFileSync(axe, "utf8"));
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, impact, nodes }) => ({
        id,
        impact,
        nodes: nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`),
      }));
  });
};

export const screenshot = async ({ page }, { path: file }) => {
  await page.screenshot({ path: file });
};

/** Opens what lies behind the toolbar's mode button. */
export const openMode = async ({ page }) => {
  await page.getByRole("button", { name: /what is enabled$/ }).click();
  await page.getByRole("dialog", { name: "What is enabled" }).waitFor();
};

/** Turns a switch in it, and waits until the Console has taken the change and the page knows. */
export const turn = async ({ page }, { name }) => {
  await Promise.all([
    page.waitForResponse(
      (answer) => answer.url().endsWith("/settings") && answer.request().method() === "PUT",
    ),
    // The input itself lies over its words.
    page.getByRole("dialog").getByText(name, { exact: true }).click({ force: true }),
  ]);
  await page
    .getByRole("dialog", { name: "What is enabled" })
    .and(page.locator(":not(:has(:disabled))"))
    .waitFor();
};

/** Pixels of the map in the orange of an incident's edge, and in the red of its halo's sign. */
export const incidentInk = async ({ page }) => {
  await page.waitForTimeout(800);
  const shot = await page.getByTestId("map").screenshot();
  return page.evaluate(async (data) => {
    const bitmap = await createImageBitmap(
      new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type: "image/png" }),
    );
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const near = (at, ...color) =>
      color.every((value, channel) => Math.abs(pixels[at + channel] - value) < 12);
    let orange = 0;
    let red = 0;
    for (let at = 0; at < pixels.length; at += 4) {
      if (near(at, 0xe5, 0x8a, 0x2b)) orange++;
      if (near(at, 0xf0, 0x43, 0x4a)) red++;
    }
    return { orange, red };
  }, shot.toString("base64"));
};

const eventRows = (page) => page.getByTestId("events").locator("tbody tr");

/** The list of events, as text by heading. */
export const events = async ({ page }) => {
  const headings = await page.getByTestId("events").locator("thead th").allInnerTexts();
  return eventRows(page).evaluateAll(
    (rows, names) =>
      rows.map((row) =>
        Object.fromEntries(
          [...row.cells].map((cell, index) => [names[index], cell.innerText.replace(/\n/g, " ")]),
        ),
      ),
    headings,
  );
};

export const waitForEvent = async ({ page }, { texts }) => {
  let rows = eventRows(page);
  for (const text of texts) rows = rows.filter({ hasText: text });
  await rows.first().waitFor();
};

export const searchEvents = async ({ page }, { text }) => {
  await page.getByLabel("Search events").fill(text);
};

export const pressButton = async ({ page }, { name }) => {
  await page.getByRole("button", { name }).click();
};

export const goTo = async ({ page }, { name }) => {
  await page.getByRole("navigation", { name: "Product" }).getByRole("link", { name }).click();
};

/** The table of Defenders, as text by heading. */
export const defenders = async ({ page }) => {
  const table = page.getByTestId("defenders");
  await table.waitFor();
  const headings = await table.locator("thead th").allInnerTexts();
  return table
    .locator("tbody tr")
    .evaluateAll(
      (rows, names) =>
        rows.map((row) =>
          Object.fromEntries(
            [...row.cells].map((cell, index) => [names[index], cell.innerText.replace(/\n/g, " ")]),
          ),
        ),
      headings,
    );
};

export const waitForNoDefender = async ({ page }, { name }) => {
  await page
    .getByTestId("defenders")
    .getByText(name, { exact: true })
    .waitFor({ state: "detached" });
};

/** What stands in the part of the page that is marked so. */
export const marked = async ({ page }, { id }) => page.getByTestId(id).innerText();

export const pressInDialog = async ({ page }, { name }) => {
  await page.getByRole("dialog").getByRole("button", { name, exact: true }).click();
};

/** What went wrong in the page since the last call. */
export const problems = async (world) => world.problems.splice(0);
