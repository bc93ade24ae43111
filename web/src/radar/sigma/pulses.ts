/** Sparks that run along edges on which something just happened. */
import { pointOnRoute } from "../layout/route";
import type { SceneEdge } from "../scene";
import type { View } from "./overlay";

const DURATION_MS = 1_300;
/** Sparks at once; on a busy map more would only be noise. */
const PULSES_MAX = 60;
const TAIL = 9;
const REST_MS = 4_000;

export class Pulses {
  readonly #running = new Map<string, number>();
  /** When an edge had its last spark, so that a busy one does not flicker without end. */
  readonly #last = new Map<string, number>();
  #frame = 0;

  constructor(readonly draw: () => void) {}

  get active(): boolean {
    return this.#running.size > 0;
  }

  start(edges: readonly string[]): void {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const now = performance.now();
    for (const edge of edges) {
      if (this.#running.size >= PULSES_MAX) break;
      if (now - (this.#last.get(edge) ?? Number.NEGATIVE_INFINITY) < REST_MS) continue;
      this.#last.set(edge, now);
      this.#running.set(edge, now);
    }
    if (this.#running.size > 0 && this.#frame === 0) this.#step();
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#running.clear();
  }

  paint(
    context: CanvasRenderingContext2D,
    edges: readonly SceneEdge[],
    view: View,
    color: string,
  ): void {
    context.clearRect(0, 0, view.width, view.height);
    if (this.#running.size === 0) return;
    const now = performance.now();
    context.fillStyle = color;
    for (const edge of edges) {
      const started = this.#running.get(edge.id);
      if (started === undefined) continue;
      const part = (now - started) / DURATION_MS;
      for (let step = 0; step < TAIL; step++) {
        const t = ease(part) - step * 0.014;
        if (t < 0 || t > 1) continue;
        const [x, y] = pointOnRoute(edge.segments, t);
        context.globalAlpha = (1 - step / TAIL) * Math.min(1, (1 - part) * 4);
        context.beginPath();
        const radius = (3 - step * 0.24) * Math.max(0.6, view.scale);
        context.arc(x * view.scale + view.x, y * view.scale + view.y, radius, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }

  #step = (): void => {
    const now = performance.now();
    for (const [edge, started] of this.#running) {
      if (now - started > DURATION_MS) this.#running.delete(edge);
    }
    this.draw();
    this.#frame = this.#running.size > 0 ? requestAnimationFrame(this.#step) : 0;
  };
}

const ease = (t: number) => (t < 0.5 ? 2 * t * t : 1 - (-2 * t + 2) ** 2 / 2);
