/**
 * The seam between Radar and whatever draws the map. The page knows only this interface; the
 * drawing library behind it can be replaced without touching the page.
 */
import type { Scene } from "./scene";

export type Selection = { kind: "node"; id: string } | { kind: "edge"; id: string };

export type ColorScheme = "light" | "dark";

export interface MapEvents {
  /** A node or an edge was clicked, or the empty map (null). */
  onSelect(selection: Selection | null): void;
  onHover(selection: Selection | null): void;
}

export interface MapRenderer {
  /** Draws this scene; what moved, moves there smoothly. `fit` shows all of it. */
  setScene(scene: Scene, options: { fit: boolean }): void;
  setScheme(scheme: ColorScheme): void;
  setSelection(selection: Selection | null): void;
  /** Nodes that a search found; all others are dimmed. Null when there is no search. */
  setMatches(ids: ReadonlySet<string> | null): void;
  /** Shows briefly that something passed along these edges. */
  pulse(edges: readonly string[]): void;
  fit(): void;
  zoomBy(factor: number): void;
  /** Brings a node into the middle. */
  focus(node: string): void;
  destroy(): void;
}
