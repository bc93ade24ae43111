// Drives one Chromium for the tests: reads {"name", "args"} as lines of JSON, runs the function of
// that name in actions.mjs or policy-actions.mjs on the page, and answers {"value"} or {"error"} as
// a line.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [chromiumPath, profile, webFolder] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${webFolder}/package.json`));
const { chromium } = require("playwright-core");
const actions = {
  ...(await import("./actions.mjs")),
  ...(await import("./policy-actions.mjs")),
};

const context = await chromium.launchPersistentContext(profile, {
  executablePath: chromiumPath,
  viewport: { width: 1440, height: 900 },
  colorScheme: "dark",
  args: [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
  ],
});
context.setDefaultTimeout(20_000);
const page = context.pages()[0] ?? (await context.newPage());
const world = { context, page, problems: [], axe: require.resolve("axe-core/axe.min.js") };
page.on("console", (message) => {
  if (message.type() === "error" || message.type() === "warning") {
    world.problems.push(`${message.type()}: ${message.text()}`);
  }
});
page.on("pageerror", (error) => world.problems.push(`uncaught: ${error.message}`));

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ value: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const { name, args } = JSON.parse(line);
  try {
    answer({ value: (await actions[name](world, args)) ?? null });
  } catch (error) {
    // Where it was and what the page itself complained of: most often that is the reason.
    const said = world.problems.splice(0).join("\n");
    answer({ error: `${name} at ${page.url()}: ${error.message}\n${said}` });
  }
}
await context.close();
