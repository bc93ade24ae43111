import { expect, it } from "vitest";
import { pick } from "./picking";
import type { Scene } from "./scene";

const node = (id: string, x: number) => ({
  id,
  x,
  y: 0,
  kind: "app" as const,
  name: id,
  subtitle: "",
  count: 1,
  state: null,
  internet: false,
  incident: false,
  member: false,
});

const SCENE: Scene = {
  nodes: [node("a", 0), node("b", 300)],
  edges: [
    {
      id: "ab",
      source: "a",
      target: "b",
      segments: [[30, 0, 150, 0, 150, 0, 270, 0]],
      label: { x: 150, y: 0, width: 40, text: "80" },
      verdict: "none",
    },
  ],
  headings: [],
  bounds: { x0: 0, y0: 0, x1: 0, y1: 0 },
};

it("takes a node before a label before an edge, and nothing far off", () => {
  expect(pick(SCENE, 5, 5, 6)).toEqual({ kind: "node", id: "a" });
  expect(pick(SCENE, 160, 8, 1)).toEqual({ kind: "edge", id: "ab" });
  expect(pick(SCENE, 80, 5, 6)).toEqual({ kind: "edge", id: "ab" });
  expect(pick(SCENE, 80, 15, 6)).toBeNull();
});
