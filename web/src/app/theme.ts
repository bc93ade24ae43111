import { createTheme, type MantineColorsTuple } from "@mantine/core";

const ink: MantineColorsTuple = [
  "#e6ecf5",
  "#c9d3e2",
  "#a3b1c8",
  "#8b9bb4",
  "#3a4a64",
  "#26334a",
  "#1a2433",
  "#121a26",
  "#0d141e",
  "#0a0f16",
];

export const theme = createTheme({
  fontFamily: '"Inter Variable", system-ui, sans-serif',
  headings: { fontFamily: '"Inter Variable", system-ui, sans-serif', fontWeight: "650" },
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace",
  primaryColor: "blue",
  primaryShade: { light: 7, dark: 6 },
  defaultRadius: "md",
  colors: { dark: ink },
  cursorType: "pointer",
  respectReducedMotion: true,
});
