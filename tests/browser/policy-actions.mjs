// What the tests of the policy's pages do in the browser, as actions.mjs has it for all.
import fs from "node:fs";

/** Presses what bears exactly this text. */
export const clickText = async ({ page }, { text }) => {
  await page.getByText(text, { exact: true }).first().click();
};

const ruleRow = (page, name) => page.getByTestId("rules").locator(`[data-rule="${name}"]`);

/** The rules that are drawn, in order: what each says, and what was found about it. */
export const rules = async ({ page }) => {
  await page.getByTestId("rules").waitFor();
  return page.getByTestId("rules").locator("[data-rule]").evaluateAll((list) =>
    list
      .map((row) => ({
        at: Number(row.getAttribute("aria-rowindex")) - 1,
        name: row.dataset.rule,
        enabled: row.dataset.enabled === "true",
        marked: row.dataset.marked === "true",
        findings: [...row.querySelectorAll("[data-finding]")].map((one) => one.textContent.trim()),
        ...Object.fromEntries(
          ["source", "destination", "ports", "effect", "hits", "last"].map((column) => [
            column,
            row.querySelector(`[data-column="${column}"]`).innerText.trim(),
          ]),
        ),
      }))
      .sort((one, other) => one.at - other.at),
  );
};

export const waitForRule = async ({ page }, { name, text = "" }) => {
  await ruleRow(page, name).filter({ hasText: text }).waitFor();
};

export const waitForOrder = async ({ page }, { names }) => {
  await page.waitForFunction((wanted) => {
    const rows = [...document.querySelectorAll('[data-testid="rules"] [data-rule]')];
    rows.sort((a, b) => a.getAttribute("aria-rowindex") - b.getAttribute("aria-rowindex"));
    const found = rows.map((row) => row.dataset.rule);
    return wanted.every((name, at) => found[at] === name);
  }, names);
};

export const focusHandle = async ({ page }, { name }) => {
  await ruleRow(page, name).locator('[data-control="handle"]').focus();
};

/** The control of a rule that has the focus. */
export const focusedControl = async ({ page }) =>
  page.evaluate(() => ({
    rule: document.activeElement?.closest("[data-rule]")?.dataset.rule ?? null,
    control: document.activeElement?.dataset.control ?? null,
  }));

/** Drags a rule by its handle onto another one. */
export const dragRule = async ({ page }, { name, onto }) => {
  const from = await ruleRow(page, name).locator('[data-control="handle"]').boundingBox();
  const to = await ruleRow(page, onto).boundingBox();
  await page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
  await page.mouse.down();
  await page.mouse.move(from.x + 20, from.y + 20, { steps: 4 });
  await page.mouse.move(from.x + 20, to.y + to.height / 2, { steps: 10 });
  await page.waitForTimeout(150);
  await page.mouse.up();
};

export const openRule = async ({ page }, { name }) => {
  await ruleRow(page, name).locator('[data-control="name"]').click();
  await page.getByTestId("rule-drawer").getByLabel("Name", { exact: true }).waitFor();
};

export const switchRule = async ({ page }, { name }) => {
  await ruleRow(page, name).getByRole("switch").click({ force: true });
};

/** Chooses from a rule's or an object's menu. */
export const fromMenu = async ({ page }, { name, item }) => {
  await page.getByRole("button", { name: `Actions for ${name}`, exact: true }).click();
  await page.getByRole("menuitem", { name: item, exact: true }).click();
};

/** A field of the open dialog; its list of options has the same label. */
const fieldOf = (page, label) =>
  page.getByRole("dialog").getByLabel(label, { exact: true }).and(page.locator("input, textarea"));

/** Fills fields of the open dialog: a list is typed entry by entry. */
export const fill = async ({ page }, { fields }) => {
  for (const [label, value] of Object.entries(fields)) {
    const field = fieldOf(page, label);
    if (!Array.isArray(value)) {
      await field.fill(value);
      continue;
    }
    for (const one of value) {
      await field.fill(one);
      await field.press("Enter");
    }
    await field.press("Tab");
  }
};

export const chooseInDialog = async ({ page }, { name }) => {
  await page.getByRole("dialog").locator("label").filter({ hasText: new RegExp(`^${name}$`) }).click();
};

export const waitForNoDialog = async ({ page }) => {
  await page.getByRole("dialog").waitFor({ state: "detached" });
};

export const dialogText = async ({ page }) => page.getByRole("dialog").innerText();

export const fieldValue = async ({ page }, { label }) =>
  fieldOf(page, label).inputValue();

/** Waits for what is marked so, and gives its text. */
export const waitForMarked = async ({ page }, { id, text = "" }) => {
  const found = page.getByTestId(id).filter({ hasText: text }).first();
  await found.waitFor();
  return found.innerText();
};

export const objects = async ({ page }) => {
  await page.getByTestId("objects").waitFor();
  return page.getByTestId("objects").locator("[data-object]").evaluateAll((rows) =>
    Object.fromEntries(
      rows.map((row) => [
        row.dataset.object,
        [...row.querySelectorAll("[role=cell]")].slice(0, 4).map((cell) => cell.innerText.trim()),
      ]),
    ),
  );
};

export const waitForObject = async ({ page }, { name }) => {
  await page.locator(`[data-object="${name}"]`).waitFor();
};

export const openObject = async ({ page }, { name }) => {
  await page.locator(`[data-object="${name}"]`).getByRole("button", { name, exact: true }).click();
  await page.getByTestId("object-drawer").getByLabel("Name", { exact: true }).waitFor();
};

export const chooseVersion = async ({ page }, { version }) => {
  await page.locator(`[data-version="${version}"]`).click();
  await page.getByTestId("diff").waitFor();
};

export const typePolicy = async ({ page }, { text }) => {
  await page.getByRole("textbox", { name: "Policy" }).fill(text);
};

/** Presses a button and gives the text of the file that it saves. */
export const downloaded = async ({ page }, { name }) => {
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name }).click(),
  ]);
  return fs.readFileSync(await file.path(), "utf8");
};

/** How many buttons of this name there are now. */
export const buttons = async ({ page }, { name }) => page.getByRole("button", { name }).count();

export const scrollRules = async ({ page }, { to }) => {
  await page.getByTestId("rules").evaluate((grid, top) => {
    grid.parentElement.scrollTop = top * grid.parentElement.scrollHeight;
  }, to);
  await page.waitForTimeout(300);
};
