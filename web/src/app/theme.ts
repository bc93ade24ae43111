import { createTheme, type MantineColorsTuple } from "@mantine/core";

const ink: MantineColorsTuple = [
  "#e6ecf5",
  "#c9d3e2",
  "#a3b1c8",
  "#8d9db6",
  "#3a4a64",
  "#26334a",
  "#1a2433",
  "#121a26",
  "#0d141e",
  "#0a0f16",
];

/** White text on the seventh shade has a contrast of 5.2 to 1. */
const blue: MantineColorsTuple = [
  "#eff6ff",
  "#dbeafe",
  "#bfdbfe",
  "#93c5fd",
  "#60a5fa",
  "#3b82f6",
  "#2f6fee",
  "#2563eb",
  "#1d4ed8",
  "#1e40af",
];

/** White on its seventh shade, and that shade on white: 5.5 to 1. */
const red: MantineColorsTuple = [
  "#fff5f5",
  "#ffe3e3",
  "#ffc9c9",
  "#ffa8a8",
  "#ff8787",
  "#ff6b6b",
  "#e03131",
  "#c92a2a",
  "#b02525",
  "#962020",
];

export const theme = createTheme({
  fontFamily: '"Inter Variable", system-ui, sans-serif',
  headings: { fontFamily: '"Inter Variable", system-ui, sans-serif', fontWeight: "650" },
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace",
  primaryColor: "blue",
  primaryShade: 7,
  defaultRadius: "md",
  colors: { dark: ink, blue, red },
  cursorType: "pointer",
  respectReducedMotion: true,
});
