/** The map drawn by sigma.js: WebGL for nodes and edges, two canvases above it for text and sparks. */
import Graph from "graphology";
import Sigma from "sigma";
import type { EdgeDisplayData, NodeDisplayData } from "sigma/types";
import { NODE_RADIUS } from "../layout/types";
import { type Palette, paletteOf } from "../palette";
import { pick } from "../picking";
import type { ColorScheme, MapEvents, MapRenderer, Selection } from "../renderer";
import type { Scene, SceneEdge, SceneNode } from "../scene";
import { type CurveData, EdgeCurveProgram } from "./edge-program";
import { between } from "./motion";
import { type DiscData, discProgram } from "./node-program";
import { drawOverlay, type Look, type View } from "./overlay";
import { Pulses } from "./pulses";
import { WORLD, WORLD_BOX } from "./world";

const EMPTY: Scene = { nodes: [], edges: [], headings: [], bounds: { x0: 0, y0: 0, x1: 0, y1: 0 } };
/** A small map is not blown up beyond this, and nobody zooms out or in further than the others. */
const FIT_SCALE_MAX = 1.15;
const SCALE_MIN = 0.04;
const SCALE_MAX = 3;
const PADDING = 48;
const NARROW_PX = 640;
const NARROW_SCALE_MIN = 0.6;
const MOTION_MS = 420;
const DIMMED = 0.16;
/** How far beside an edge the pointer still means it, in pixels. */
const SLACK_PX = 7;

const Disc = discProgram(WORLD);

export class SigmaRenderer implements MapRenderer {
  readonly #sigma: Sigma;
  readonly #container: HTMLElement;
  readonly #events: MapEvents;
  readonly #text: CanvasRenderingContext2D | null;
  readonly #sparks: CanvasRenderingContext2D | null;
  readonly #pulses = new Pulses(() => this.#paintSparks());
  readonly #observer: ResizeObserver;
  #palette: Palette;
  /** What is shown now, on the way to `#goal`. */
  #scene: Scene = EMPTY;
  #goal: Scene = EMPTY;
  #nodes = new Map<string, SceneNode>();
  #pieces = new Map<string, { edge: SceneEdge; index: number }>();
  #selection: Selection | null = null;
  #hover: Selection | null = null;
  #matches: ReadonlySet<string> | null = null;
  /** Nodes and edges of the neighbourhood in focus; null when nothing is. */
  #near: { nodes: Set<string>; edges: Set<string> } | null = null;
  #motion = 0;
  #fitted = true;
  #topology = "";
  /** How nodes and edges look, and whether sigma has been told. */
  #looks = "";
  #repaint = false;

  constructor(container: HTMLElement, events: MapEvents, scheme: ColorScheme) {
    this.#container = container;
    this.#events = events;
    this.#palette = paletteOf(scheme);
    this.#sigma = new Sigma(new Graph({ multi: true, allowSelfLoops: true }), container, {
      allowInvalidContainer: true,
      renderLabels: false,
      renderEdgeLabels: false,
      enableEdgeEvents: false,
      stagePadding: 0,
      itemSizesReference: "positions",
      zoomToSizeRatioFunction: (ratio) => ratio,
      nodeProgramClasses: { disc: Disc },
      nodeHoverProgramClasses: { disc: Disc },
      edgeProgramClasses: { curve: EdgeCurveProgram },
      defaultNodeType: "disc",
      defaultEdgeType: "curve",
      defaultDrawNodeHover: () => undefined,
      nodeReducer: (id) => this.#nodeLook(id),
      edgeReducer: (id) => this.#edgeLook(id),
      minEdgeThickness: 0,
    });
    this.#sigma.setCustomBBox(WORLD_BOX);
    this.#text = this.#canvas("map-text");
    this.#sparks = this.#canvas("map-sparks");
    this.#sigma.on("afterRender", () => this.#paint());
    this.#listen();
    this.#observer = new ResizeObserver(() => this.#resized());
    this.#observer.observe(container);
    void document.fonts?.ready.then(() => this.#sigma.scheduleRender());
  }

  setScene(scene: Scene, { fit }: { fit: boolean }): void {
    const from = this.#scene;
    this.#goal = scene;
    const looks = looksOf(scene);
    this.#repaint ||= looks !== this.#looks;
    this.#looks = looks;
    cancelAnimationFrame(this.#motion);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (fit || from.nodes.length === 0 || still || document.hidden) {
      this.#show(scene);
      if (fit) this.#fit(false);
      return;
    }
    const started = performance.now();
    const step = () => {
      const part = Math.min(1, (performance.now() - started) / MOTION_MS);
      this.#show(between(from, scene, part));
      if (part < 1) this.#motion = requestAnimationFrame(step);
    };
    step();
    if (this.#fitted) this.#fit(true);
  }

  setScheme(scheme: ColorScheme): void {
    this.#palette = paletteOf(scheme);
    this.#refresh();
  }

  setSelection(selection: Selection | null): void {
    this.#selection = selection;
    this.#emphasise();
  }

  setMatches(ids: ReadonlySet<string> | null): void {
    this.#matches = ids;
    this.#refresh();
  }

  pulse(edges: readonly string[]): void {
    if (!document.hidden) this.#pulses.start(edges);
  }

  fit(): void {
    this.#fit(true);
  }

  zoomBy(factor: number): void {
    this.#fitted = false;
    const camera = this.#sigma.getCamera();
    void camera.animate({ ratio: this.#bounded(camera.ratio / factor) }, { duration: 180 });
  }

  focus(id: string): void {
    const node = this.#goal.nodes.find((one) => one.id === id);
    if (node === undefined) return;
    this.#fitted = false;
    const scale = Math.max(0.95, this.#scale());
    void this.#sigma
      .getCamera()
      .animate(this.#cameraFor(node.x, node.y, scale), { duration: this.#duration(350) });
  }

  destroy(): void {
    cancelAnimationFrame(this.#motion);
    this.#pulses.stop();
    this.#observer.disconnect();
    this.#container.removeEventListener("pointermove", this.#pointerMoved);
    this.#container.removeEventListener("pointerleave", this.#pointerLeft);
    this.#sigma.kill();
  }

  #canvas(id: string): CanvasRenderingContext2D | null {
    this.#sigma.createCanvasContext(id, { style: { pointerEvents: "none" } });
    // sigma sizes a canvas only when its stage changes size, and this one is new.
    this.#sigma.resize(true);
    return this.#sigma.getCanvases()[id]?.getContext("2d") ?? null;
  }

  #listen(): void {
    const select = ({ event }: { event: { x: number; y: number } }) =>
      this.#events.onSelect(this.#pickAt(event.x, event.y));
    this.#sigma.on("clickStage", select);
    this.#sigma.on("clickNode", select);
    this.#container.addEventListener("pointermove", this.#pointerMoved);
    this.#container.addEventListener("pointerleave", this.#pointerLeft);
    const leave = () => {
      this.#fitted = false;
    };
    this.#sigma.getMouseCaptor().on("wheel", leave);
    this.#sigma.getMouseCaptor().on("mousedown", leave);
    this.#sigma.getTouchCaptor().on("touchmove", leave);
  }

  #pointerMoved = (event: PointerEvent): void => {
    if (event.buttons !== 0) return;
    const box = this.#container.getBoundingClientRect();
    this.#setHover(this.#pickAt(event.clientX - box.left, event.clientY - box.top));
  };

  #pointerLeft = (): void => this.#setHover(null);

  #pickAt(x: number, y: number): Selection | null {
    const view = this.#view();
    return pick(
      this.#goal,
      (x - view.x) / view.scale,
      (y - view.y) / view.scale,
      SLACK_PX / view.scale,
    );
  }

  #setHover(hover: Selection | null): void {
    if (hover?.kind === this.#hover?.kind && hover?.id === this.#hover?.id) return;
    this.#hover = hover;
    this.#container.style.cursor = hover === null ? "" : "pointer";
    this.#emphasise();
    this.#events.onHover(hover);
  }

  #emphasise(): void {
    this.#near = neighbourhood(this.#goal, this.#hover ?? this.#selection);
    this.#refresh();
  }

  /** Puts a scene into sigma: its graph is rebuilt only when nodes or pieces of edges differ. */
  #show(scene: Scene): void {
    this.#scene = scene;
    this.#nodes = new Map(scene.nodes.map((node) => [node.id, node]));
    this.#pieces = new Map();
    for (const edge of scene.edges) {
      edge.segments.forEach((_, index) => {
        this.#pieces.set(`${edge.id}\n${index}`, { edge, index });
      });
    }
    this.#near = neighbourhood(this.#goal, this.#hover ?? this.#selection);
    const topology = `${[...this.#nodes.keys()].join("\v")}\f${[...this.#pieces.keys()].join("\v")}`;
    if (topology === this.#topology) {
      // sigma takes places from its graph, never from the reducer.
      this.#sigma.getGraph().updateEachNodeAttributes((id) => this.#place(id), {
        attributes: ["x", "y"],
      });
      // Moving nodes does not ask edges and states again.
      if (this.#repaint) this.#refresh();
      this.#repaint = false;
      return;
    }
    this.#repaint = false;
    this.#topology = topology;
    const graph = new Graph({ multi: true, allowSelfLoops: true });
    for (const id of this.#nodes.keys()) graph.addNode(id, this.#place(id));
    for (const [key, { edge }] of this.#pieces) {
      if (this.#nodes.has(edge.source) && this.#nodes.has(edge.target)) {
        graph.addDirectedEdgeWithKey(key, edge.source, edge.target);
      }
    }
    this.#sigma.setGraph(graph);
    this.#sigma.setCustomBBox(WORLD_BOX);
    this.#sigma.refresh();
  }

  #refresh(): void {
    this.#sigma.refresh();
  }

  #place(id: string): { x: number; y: number } {
    const node = this.#nodes.get(id);
    return { x: node?.x ?? 0, y: -(node?.y ?? 0) };
  }

  #nodeLook(id: string): Partial<NodeDisplayData> & DiscData {
    const node = this.#nodes.get(id);
    const palette = this.#palette;
    const chosen = this.#selection?.kind === "node" && this.#selection.id === id;
    const base = {
      ...this.#place(id),
      size: NODE_RADIUS,
      type: "disc",
      label: null,
      color: palette.fill,
      halo: chosen || !node?.incident ? palette.halo : palette.incident,
      rim: "rgba(0,0,0,0)",
      square: node?.kind === "host" || node?.kind === "object",
      dashed: node?.kind === "unmanaged" || node?.state === "dry-run",
      glow: chosen ? 1 : node?.incident ? 0.95 : 0,
      alpha: node === undefined ? 0 : this.#nodeAlpha(node),
    };
    if (node?.state === "learning") return { ...base, ring: palette.learning, ringWidth: 3.6 };
    if (node?.state === "dry-run") return { ...base, ring: palette.learning, ringWidth: 3.6 };
    if (node?.state === "enforcing") {
      const black = palette.enforcing;
      return { ...base, color: black, ring: black, rim: palette.enforcingRim, ringWidth: 3.6 };
    }
    return { ...base, ring: palette.peer, ringWidth: 1.8 };
  }

  #edgeLook(key: string): Partial<EdgeDisplayData> & CurveData {
    const piece = this.#pieces.get(key);
    const edge = piece?.edge;
    const last = edge === undefined || piece?.index === edge.segments.length - 1;
    const strong = edge !== undefined && this.#isEmphasised(edge);
    const verdict = edge?.verdict ?? "none";
    return {
      type: "curve",
      label: null,
      size: strong ? 2.4 : 1.6,
      color: strong && verdict === "none" ? this.#palette.edgeActive : this.#palette.edge[verdict],
      curve: edge?.segments[piece?.index ?? 0] ?? [0, 0, 0, 0, 0, 0, 0, 0],
      arrow: last,
      alpha: edge === undefined ? 0 : this.#edgeAlpha(edge),
    };
  }

  #nodeAlpha(node: SceneNode): number {
    if (this.#near !== null) return this.#near.nodes.has(node.id) ? 1 : DIMMED;
    if (this.#matches !== null) return this.#matches.has(node.id) ? 1 : DIMMED;
    return 1;
  }

  #edgeAlpha(edge: SceneEdge): number {
    if (this.#near !== null) return this.#near.edges.has(edge.id) ? 1 : DIMMED;
    if (this.#matches === null) return 1;
    return this.#matches.has(edge.source) || this.#matches.has(edge.target) ? 0.8 : DIMMED;
  }

  #isEmphasised(edge: SceneEdge): boolean {
    return this.#near?.edges.has(edge.id) ?? false;
  }

  #paint(): void {
    const look: Look = {
      palette: this.#palette,
      nodeAlpha: (node) => this.#nodeAlpha(node),
      edgeAlpha: (edge) => this.#edgeAlpha(edge),
      emphasised: (edge) => this.#isEmphasised(edge),
    };
    if (this.#text !== null) drawOverlay(this.#text, this.#scene, this.#view(), look);
    this.#paintSparks();
  }

  #paintSparks(): void {
    if (this.#sparks === null) return;
    const edges = this.#scene.edges.filter((edge) => this.#edgeAlpha(edge) > DIMMED);
    this.#pulses.paint(this.#sparks, edges, this.#view(), this.#palette.edgeActive);
  }

  /** Pixels of one map unit. */
  #scale(): number {
    return this.#unitRatio() / this.#sigma.getCamera().ratio;
  }

  #view(): View {
    const zero = this.#sigma.graphToViewport({ x: 0, y: 0 });
    const { width, height } = this.#sigma.getDimensions();
    return { scale: this.#scale(), x: zero.x, y: zero.y, width, height };
  }

  /** The camera's ratio at which one map unit is one pixel; asked of the stage as it is now. */
  #unitRatio(): number {
    const cameraState = { x: 0.5, y: 0.5, angle: 0, ratio: 1 };
    const zero = this.#sigma.framedGraphToViewport({ x: 0, y: 0 }, { cameraState });
    const one = this.#sigma.framedGraphToViewport({ x: 1, y: 0 }, { cameraState });
    return (one.x - zero.x) / WORLD;
  }

  #bounded(ratio: number): number {
    const unit = this.#unitRatio();
    return Math.min(unit / SCALE_MIN, Math.max(unit / SCALE_MAX, ratio));
  }

  #cameraFor(x: number, y: number, scale: number) {
    return { x: 0.5 + x / WORLD, y: 0.5 - y / WORLD, ratio: this.#unitRatio() / scale, angle: 0 };
  }

  #fit(animate: boolean): void {
    this.#sigma.resize();
    const { bounds } = this.#goal;
    const { width, height } = this.#sigma.getDimensions();
    // On a telephone a map that fits could not be read; it is better to move it.
    const least = width < NARROW_PX ? NARROW_SCALE_MIN : SCALE_MIN;
    const fitting = Math.min(
      FIT_SCALE_MAX,
      (width - 2 * PADDING) / Math.max(1, bounds.x1 - bounds.x0),
      (height - 2 * PADDING) / Math.max(1, bounds.y1 - bounds.y0),
    );
    if (!(width > 0 && height > 0)) return;
    const scale = Math.max(least, fitting);
    const x = (bounds.x0 + bounds.x1) / 2;
    const y = (bounds.y0 + bounds.y1) / 2;
    const goal = this.#cameraFor(x, y, scale);
    const camera = this.#sigma.getCamera();
    this.#limit();
    if (animate) void camera.animate(goal, { duration: this.#duration(300) });
    else camera.setState(goal);
    this.#fitted = true;
  }

  #limit(): void {
    const unit = this.#unitRatio();
    this.#sigma.setSettings({ minCameraRatio: unit / SCALE_MAX, maxCameraRatio: unit / SCALE_MIN });
  }

  #duration(ms: number): number {
    return matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : ms;
  }

  #resized(): void {
    const { x, y, ratio } = this.#sigma.getCamera();
    const scale = this.#unitRatio() / ratio;
    this.#sigma.resize();
    this.#sigma.refresh();
    if (this.#fitted) this.#fit(false);
    else this.#sigma.getCamera().setState({ x, y, ratio: this.#unitRatio() / scale });
  }
}

/** A text that is the same for scenes that look the same wherever things stand. */
function looksOf(scene: Scene): string {
  const nodes = scene.nodes.map((node) => `${node.state}${node.incident}`);
  const edges = scene.edges.map((edge) => edge.verdict);
  return `${nodes.join()}\f${edges.join()}`;
}

function neighbourhood(
  scene: Scene,
  centre: Selection | null,
): { nodes: Set<string>; edges: Set<string> } | null {
  if (centre === null) return null;
  const nodes = new Set<string>();
  const edges = new Set<string>();
  if (centre.kind === "node") nodes.add(centre.id);
  for (const edge of scene.edges) {
    const meant =
      centre.kind === "edge"
        ? edge.id === centre.id
        : edge.source === centre.id || edge.target === centre.id;
    if (!meant) continue;
    edges.add(edge.id);
    nodes.add(edge.source);
    nodes.add(edge.target);
  }
  return nodes.size === 0 ? null : { nodes, edges };
}
