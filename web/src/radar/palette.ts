/** The map's colours, for both schemes. Contrast of text is at least 4.5 to 1 on its ground. */
import type { Verdict } from "../api/types";
import type { ColorScheme } from "./renderer";

export interface Palette {
  ground: string;
  /** Inside of a circle. */
  fill: string;
  rim: string;
  learning: string;
  enforcing: string;
  /** Light rim around black circles, so that they show on dark ground. */
  enforcingRim: string;
  peer: string;
  text: string;
  muted: string;
  count: string;
  countOnSolid: string;
  edge: Record<Verdict, string>;
  edgeActive: string;
  pill: Record<Verdict, { fill: string; line: string; text: string }>;
  accent: string;
  halo: string;
  /** Around a node with an incident, and its sign. */
  incident: string;
  incidentSign: string;
  globe: string;
}

const DARK: Palette = {
  ground: "#0a0f16",
  fill: "#131c2a",
  rim: "#2a3850",
  learning: "#3b82f6",
  enforcing: "#05070b",
  enforcingRim: "#e2e8f0",
  peer: "#64748b",
  text: "#e6ecf5",
  muted: "#8b9bb4",
  count: "#f1f5fb",
  countOnSolid: "#ffffff",
  edge: { none: "#3f5170", allow: "#2f9e62", alert: "#e58a2b", prevent: "#e58a2b" },
  edgeActive: "#7fb0ff",
  pill: {
    none: { fill: "#151f2e", line: "#33435e", text: "#c3cfe0" },
    allow: { fill: "#0f2a1d", line: "#2f9e62", text: "#7ee2a8" },
    alert: { fill: "#33200b", line: "#e58a2b", text: "#ffc078" },
    prevent: { fill: "#e58a2b", line: "#e58a2b", text: "#1b0f00" },
  },
  accent: "#60a5fa",
  halo: "#60a5fa",
  incident: "#f0434a",
  incidentSign: "#ffffff",
  globe: "#38bdf8",
};

const LIGHT: Palette = {
  ground: "#f5f7fa",
  fill: "#ffffff",
  rim: "#d5dde8",
  learning: "#2563eb",
  enforcing: "#0b1220",
  enforcingRim: "#0b1220",
  peer: "#94a3b8",
  text: "#131c2b",
  muted: "#5a6a82",
  count: "#131c2b",
  countOnSolid: "#ffffff",
  edge: { none: "#b3c0d2", allow: "#2f9e62", alert: "#d9730d", prevent: "#d9730d" },
  edgeActive: "#2563eb",
  pill: {
    none: { fill: "#ffffff", line: "#cdd7e4", text: "#46556b" },
    allow: { fill: "#ebf9f1", line: "#2f9e62", text: "#166a3d" },
    alert: { fill: "#fff4e6", line: "#d9730d", text: "#944c05" },
    prevent: { fill: "#d9730d", line: "#d9730d", text: "#1b0f00" },
  },
  accent: "#2563eb",
  halo: "#2563eb",
  incident: "#dc2626",
  incidentSign: "#ffffff",
  globe: "#0284c7",
};

export const paletteOf = (scheme: ColorScheme): Palette => (scheme === "dark" ? DARK : LIGHT);
