import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Libraries that change rarely get files of their own, so an update of the pages stays small. */
const CHUNKS: ReadonlyArray<readonly [string, RegExp]> = [
  ["react", /node_modules\/(react|react-dom|scheduler)\//],
  ["map", /node_modules\/(sigma|graphology|events)/],
  ["mantine", /node_modules\/(@mantine|@floating-ui|clsx|react-remove-scroll|@tabler)/],
  ["tanstack", /node_modules\/@tanstack\//],
];

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../src/cnnf/console/pages",
    emptyOutDir: true,
    target: "es2022",
    // light-dark() stays as it is: these are the first browsers that have it.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // The content security policy allows no data: addresses.
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        manualChunks: (id) => CHUNKS.find(([, pattern]) => pattern.test(id))?.[0],
      },
    },
  },
  worker: { format: "es" },
  server: { proxy: { "/api": "http://127.0.0.1:8440" } },
});
