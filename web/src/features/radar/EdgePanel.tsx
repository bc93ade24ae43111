import { UnstyledButton } from "@mantine/core";
import { IconArrowRight } from "@tabler/icons-react";
import type { Graph, GraphEdge } from "../../api/types";
import { KindIcon } from "../../components/KindIcon";
import { formatKind, formatNumber } from "../../radar/format";
import { edgeKey, edgeTotal } from "../../radar/graph";
import { MakeRule } from "../policy/MakeRule";
import { Panel, Section } from "./Panel";
import classes from "./Panel.module.css";
import { PortTable } from "./PortTable";

interface Props {
  edge: GraphEdge;
  graph: Graph;
  onSelect: (node: string) => void;
  onClose: () => void;
}

/** One edge in full. */
export function EdgePanel({ edge, graph, onSelect, onClose }: Props) {
  const end = (id: string) => graph.nodes.find((node) => node.id === id);
  const source = end(edge.source);
  const target = end(edge.target);
  const title = `${source?.name ?? edge.source} → ${target?.name ?? edge.target}`;
  return (
    <Panel
      subject={edgeKey(edge)}
      label={`Edge from ${source?.name} to ${target?.name}`}
      icon={<IconArrowRight size={20} stroke={1.7} aria-hidden />}
      title={title}
      subtitle={`${formatNumber(edgeTotal(edge))} connections in this window`}
      onClose={onClose}
    >
      <Section title="Ports" count={edge.ports.length + edge.more_ports}>
        <div className={classes.card}>
          <PortTable ports={edge.ports} more={edge.more_ports} limited={graph.mode.limited} />
        </div>
      </Section>
      {source !== undefined && target !== undefined && (
        <Section title="Make a rule">
          <MakeRule key={edgeKey(edge)} edge={edge} source={source} target={target} />
        </Section>
      )}
      <Section title="Ends">
        {[
          { word: "Source", node: source },
          { word: "Destination", node: target },
        ].map(({ word, node }) =>
          node === undefined ? null : (
            <div className={classes.card} key={word}>
              <div className={classes.row}>
                <UnstyledButton className={classes.peer} onClick={() => onSelect(node.id)}>
                  {node.name}
                </UnstyledButton>
                <KindIcon kind={node.kind} />
              </div>
              <div className={classes.dim}>
                {word} · {formatKind(node.kind)}
              </div>
            </div>
          ),
        )}
      </Section>
    </Panel>
  );
}
