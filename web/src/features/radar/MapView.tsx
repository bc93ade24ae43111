import { ActionIcon, Button, Tooltip, useComputedColorScheme } from "@mantine/core";
import {
  IconFocusCentered,
  IconLayoutDistributeHorizontal,
  IconMinus,
  IconPlus,
} from "@tabler/icons-react";
import { type Ref, useEffect, useImperativeHandle, useRef, useState } from "react";
import type { Graph } from "../../api/types";
import { formatDecision, formatOutcome, plural, worstPort } from "../../radar/format";
import { activeEdges, edgeKey } from "../../radar/graph";
import { LayoutClient } from "../../radar/layout/client";
import type { LayoutResult } from "../../radar/layout/types";
import type { MapRenderer, Selection } from "../../radar/renderer";
import { layoutEdges, layoutNodes, sceneOf, shapeOf } from "../../radar/scene";
import { SigmaRenderer } from "../../radar/sigma/sigma-renderer";
import { Legend } from "./Legend";
import classes from "./MapView.module.css";

export interface MapHandle {
  focus(node: string): void;
}

interface Props {
  graph: Graph;
  selection: Selection | null;
  matches: ReadonlySet<string> | null;
  onSelect: (selection: Selection | null) => void;
  onTable: () => void;
  ref: Ref<MapHandle>;
}

/** The map: asks the worker for a layout and the renderer to draw it, and offers zooming. */
export function MapView({ graph, selection, matches, onSelect, onTable, ref }: Props) {
  const stage = useRef<HTMLDivElement>(null);
  const renderer = useRef<MapRenderer | null>(null);
  const client = useRef<LayoutClient | null>(null);
  const drawn = useRef<LayoutResult | null>(null);
  const asked = useRef("");
  const before = useRef<Graph | null>(null);
  const current = useRef(graph);
  const select = useRef(onSelect);
  const [hover, setHover] = useState<Selection | null>(null);
  const [failure, setFailure] = useState("");
  const scheme = useComputedColorScheme("light");
  const firstScheme = useRef(scheme);
  current.current = graph;
  select.current = onSelect;

  useEffect(() => {
    const container = stage.current;
    if (container === null) return;
    try {
      renderer.current = new SigmaRenderer(
        container,
        { onSelect: (next) => select.current(next), onHover: setHover },
        firstScheme.current,
      );
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
      return;
    }
    client.current = new LayoutClient((result) => {
      const first = drawn.current === null || asked.current.startsWith("tidy");
      drawn.current = result;
      asked.current = asked.current.replace(/^tidy/, "");
      renderer.current?.setScene(sceneOf(current.current, result), { fit: first });
      container.dataset.drawn = String(Object.keys(result.nodes).length);
    });
    return () => {
      client.current?.stop();
      renderer.current?.destroy();
      renderer.current = null;
      client.current = null;
      drawn.current = null;
      asked.current = "";
      before.current = null;
    };
  }, []);

  const ask = (afresh: boolean) => {
    const held = current.current;
    const box = stage.current?.getBoundingClientRect();
    const shape = shapeOf(held);
    if (!afresh && shape === asked.current) return false;
    asked.current = afresh ? `tidy${shape}` : shape;
    client.current?.ask({
      nodes: layoutNodes(held),
      edges: layoutEdges(held),
      aspect: box === undefined || box.height === 0 ? 1.6 : box.width / box.height,
      previous: afresh ? null : drawn.current,
    });
    return true;
  };
  const askRef = useRef(ask);
  askRef.current = ask;

  useEffect(() => {
    const waiting = askRef.current(false);
    if (!waiting && drawn.current !== null) {
      renderer.current?.setScene(sceneOf(graph, drawn.current), { fit: false });
    }
    renderer.current?.pulse(activeEdges(before.current, graph));
    before.current = graph;
  }, [graph]);

  useEffect(() => renderer.current?.setScheme(scheme), [scheme]);
  useEffect(() => renderer.current?.setSelection(selection), [selection]);
  useEffect(() => renderer.current?.setMatches(matches), [matches]);
  useImperativeHandle(ref, () => ({ focus: (node) => renderer.current?.focus(node) }), []);

  const size = `${plural(graph.nodes.length, "node")}, ${plural(graph.edges.length, "edge")}`;
  if (failure !== "") {
    return (
      <div className={classes.failure} role="alert">
        <p>The map needs WebGL, which this browser does not offer ({failure}).</p>
        <Button onClick={onTable}>Show the table</Button>
      </div>
    );
  }
  return (
    <div className={classes.map}>
      <div
        ref={stage}
        className={classes.canvas}
        role="img"
        aria-label={`Map of connections: ${size}. The table shows the same for the keyboard.`}
        data-testid="map"
      />
      <div className={classes.controls}>
        <Tooltip.Group openDelay={400}>
          <Control label="Zoom in" onClick={() => renderer.current?.zoomBy(1.4)}>
            <IconPlus size={18} stroke={1.7} />
          </Control>
          <Control label="Zoom out" onClick={() => renderer.current?.zoomBy(1 / 1.4)}>
            <IconMinus size={18} stroke={1.7} />
          </Control>
          <Control label="Show all of the map" onClick={() => renderer.current?.fit()}>
            <IconFocusCentered size={18} stroke={1.7} />
          </Control>
          <Control label="Arrange the map anew" onClick={() => ask(true)}>
            <IconLayoutDistributeHorizontal size={18} stroke={1.7} />
          </Control>
        </Tooltip.Group>
      </div>
      <Legend size={size} />
      <HoverCard hover={hover} graph={graph} />
    </div>
  );
}

function Control(props: { label: string; onClick: () => void; children: React.ReactNode }) {
  return (
    <Tooltip label={props.label} position="left">
      <ActionIcon
        variant="default"
        size={36}
        aria-label={props.label}
        onClick={props.onClick}
        className={classes.control}
      >
        {props.children}
      </ActionIcon>
    </Tooltip>
  );
}

/** In a line below the map: what the pointer is on. */
function HoverCard({ hover, graph }: { hover: Selection | null; graph: Graph }) {
  if (hover === null) return null;
  const name = (id: string) => graph.nodes.find((node) => node.id === id)?.name ?? id;
  if (hover.kind === "node") return <div className={classes.hover}>{name(hover.id)}</div>;
  const edge = graph.edges.find((one) => edgeKey(one) === hover.id);
  if (edge === undefined) return null;
  const worst = worstPort(edge.ports);
  const outcome = formatOutcome(edge.ports, graph.mode.limited);
  return (
    <div className={classes.hover}>
      {name(edge.source)} → {name(edge.target)} · {worst === undefined ? "" : formatDecision(worst)}
      {outcome === "" ? "" : ` · ${outcome}`}
    </div>
  );
}
