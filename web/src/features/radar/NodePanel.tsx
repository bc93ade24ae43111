import { Loader, Tabs, UnstyledButton } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { get } from "../../api/client";
import type {
  Detail,
  DetailEdge,
  DetailInstance,
  DetailProcess,
  GraphNode,
  NodeKind,
  View,
} from "../../api/types";
import { KindIcon } from "../../components/KindIcon";
import { useNow } from "../../components/useNow";
import {
  formatAddress,
  formatAgo,
  formatKind,
  formatNumber,
  formatState,
  plural,
} from "../../radar/format";
import { QuarantineButton } from "../policy/QuarantineButton";
import { canIsolate } from "../policy/quarantine";
import { Panel, Section } from "./Panel";
import classes from "./Panel.module.css";
import { PortTable } from "./PortTable";

interface Props {
  node: GraphNode;
  view: View;
  window: string;
  /** When the graph was last brought up to date; the panel follows it. */
  asOf: string;
  limited: boolean;
  onSelect: (node: string) => void;
  onClose: () => void;
}

/** At most this often is a panel asked for again while the graph changes. */
const REFRESH_MS = 4_000;

/** One node in full: instances, edges on both sides, processes. */
export function NodePanel({ node, view, window, limited, onSelect, onClose }: Props) {
  const { data, error, isPending } = useQuery({
    queryKey: ["detail", view, window, node.id],
    queryFn: () =>
      get<Detail>(
        `/radar/nodes/${encodeURIComponent(node.id)}?${new URLSearchParams({ view, window })}`,
      ),
    refetchInterval: REFRESH_MS,
    placeholderData: (previous) =>
      previous?.node.id === node.id ? keepPreviousData(previous) : undefined,
  });
  const counted = node.kind === "app" || node.kind === "service";
  return (
    <Panel
      subject={node.id}
      label={`${formatKind(node.kind)} ${node.name}`}
      icon={<KindIcon kind={node.kind} size={20} />}
      title={node.name}
      subtitle={
        <>
          <span>{formatKind(node.kind)}</span>
          {counted && <span>{plural(node.instances, "instance")}</span>}
          {node.model.state !== null && <span>Model: {formatState(node.model.state)}</span>}
          {node.internet && node.kind !== "internet" && <span>Talks to the internet</span>}
          {node.member && <span>In the network object</span>}
          {node.found && <span>Found connected</span>}
          {node.incident && <span className={classes.incident}>Incident in this window</span>}
        </>
      }
      onClose={onClose}
    >
      {isPending && <Loader size="sm" mt="lg" aria-label="Loading" />}
      {error !== null && (
        <p role="alert" className={classes.dim}>
          {error.message}
        </p>
      )}
      {data !== undefined && (
        <>
          <Tags node={node} />
          {node.kind === "object" && (
            <div className={classes.section}>
              <Link
                to="/defend/firewalls/cnnf/objects"
                search={{ kind: "all", connections: node.name }}
              >
                All its connections
              </Link>
            </div>
          )}
          {canIsolate(node) && (
            <div className={classes.section}>
              <QuarantineButton key={node.id} target={{ node, instance: null }} />
            </div>
          )}
          <Tabs
            defaultValue={counted ? "instances" : "inbound"}
            mt="md"
            keepMounted={false}
            classNames={{ tab: classes.tab }}
          >
            <Tabs.List>
              {counted && <Tabs.Tab value="instances">Instances</Tabs.Tab>}
              <Tabs.Tab value="inbound">Inbound {data.inbound.length}</Tabs.Tab>
              <Tabs.Tab value="outbound">Outbound {data.outbound.length}</Tabs.Tab>
              <Tabs.Tab value="processes">Processes</Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value="instances" pt="md">
              <Instances node={node} instances={data.instances} more={data.more_instances} />
            </Tabs.Panel>
            <Tabs.Panel value="inbound" pt="md">
              <Edges edges={data.inbound} word="inbound" limited={limited} onSelect={onSelect} />
            </Tabs.Panel>
            <Tabs.Panel value="outbound" pt="md">
              <Edges edges={data.outbound} word="outbound" limited={limited} onSelect={onSelect} />
            </Tabs.Panel>
            <Tabs.Panel value="processes" pt="md">
              <Processes detail={data} />
            </Tabs.Panel>
          </Tabs>
        </>
      )}
    </Panel>
  );
}

function Tags({ node }: { node: GraphNode }) {
  const facts = [
    ["Tag", node.tags.join(", ")],
    ["Project", node.projects.join(", ")],
    ["Namespace", node.group.filter((part) => part !== "").join(" / ")],
    ["Host", node.hosts.join(", ")],
  ].filter(([, value]) => value !== "");
  if (facts.length === 0) return null;
  return (
    <dl className={classes.facts} style={{ marginTop: 14 }}>
      {facts.map(([word, value]) => (
        <div key={word} style={{ display: "contents" }}>
          <dt>{word}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

interface InstancesProps {
  node: GraphNode;
  instances: DetailInstance[];
  more: number;
}

function Instances({ node, instances, more }: InstancesProps) {
  const now = useNow(10_000);
  if (instances.length === 0) return <p className={classes.dim}>None is known.</p>;
  return (
    <>
      {instances.map((instance) => (
        <div
          key={`${instance.host} ${instance.id}`}
          className={classes.card}
          data-running={instance.running}
        >
          <div className={classes.row}>
            <strong>{instance.title || instance.id}</strong>
            <span className={classes.dim}>
              {instance.running
                ? instance.started_at === null
                  ? "running"
                  : `started ${formatAgo(instance.started_at, now)}`
                : "stopped"}
            </span>
          </div>
          <dl className={classes.facts}>
            <dt>Host</dt>
            <dd>{instance.host}</dd>
            {instance.addresses.length > 0 && (
              <>
                <dt>Address</dt>
                <dd className={classes.mono}>{instance.addresses.join(", ")}</dd>
              </>
            )}
            {instance.ports.length > 0 && (
              <>
                <dt>Listens on</dt>
                <dd className={classes.mono}>{instance.ports.join(", ")}</dd>
              </>
            )}
            {instance.container !== "" && (
              <>
                <dt>Container</dt>
                <dd className={classes.mono} title={instance.container}>
                  {instance.container.slice(0, 12)}
                </dd>
              </>
            )}
            {instance.pid > 0 && (
              <>
                <dt>Process id</dt>
                <dd className={classes.mono}>{instance.pid}</dd>
              </>
            )}
            {instance.tag !== "" && (
              <>
                <dt>Tag</dt>
                <dd className={classes.mono}>{instance.tag}</dd>
              </>
            )}
          </dl>
          {instance.running && canIsolate(node) && (
            <div style={{ marginTop: 8 }}>
              <QuarantineButton target={{ node, instance }} />
            </div>
          )}
        </div>
      ))}
      {more > 0 && <p className={classes.dim}>and {formatNumber(more)} more</p>}
    </>
  );
}

interface EdgesProps {
  edges: DetailEdge[];
  word: string;
  limited: boolean;
  onSelect: (node: string) => void;
}

function Edges({ edges, word, limited, onSelect }: EdgesProps) {
  if (edges.length === 0) {
    return <p className={classes.dim}>No {word} connection in this window.</p>;
  }
  return edges.map((edge) => (
    <div className={classes.card} key={edge.peer}>
      <div className={classes.row}>
        <UnstyledButton className={classes.peer} onClick={() => onSelect(edge.peer)}>
          {edge.name}
        </UnstyledButton>
        <span className={classes.dim}>{formatKind(edge.kind as NodeKind)}</span>
      </div>
      <PortTable ports={edge.ports.map((part) => part.port)} limited={limited} />
      {edge.ports.some((part) => part.addresses.length > 0) && (
        <div className={classes.dim}>Addresses: {calledAddresses(edge).join(", ")}</div>
      )}
    </div>
  ));
}

/** Every address of an edge once, with what it was called where that is known. */
function calledAddresses(edge: DetailEdge): string[] {
  const names = new Map<string, string[]>();
  for (const part of edge.ports) {
    for (const address of part.addresses) {
      names.set(address, [...(names.get(address) ?? []), ...(part.names[address] ?? [])]);
    }
  }
  return [...names].map(([address, called]) => formatAddress(address, called));
}

function Processes({ detail }: { detail: Detail }) {
  const now = useNow(10_000);
  const own = new Map<string, DetailProcess>();
  const collect = (edges: DetailEdge[], side: string) => {
    for (const edge of edges) {
      for (const process of edge.ports.flatMap((part) => part.processes)) {
        if (process.side === side)
          own.set(`${process.host} ${process.executable} ${process.pid}`, process);
      }
    }
  };
  collect(detail.outbound, "source");
  collect(detail.inbound, "target");
  const processes = [...own.values()].sort((a, b) => (a.seen_at < b.seen_at ? 1 : -1));
  if (processes.length === 0) {
    return <p className={classes.dim}>No process behind these connections is known.</p>;
  }
  return (
    <Section title="Seen behind this node's connections" count={processes.length}>
      {processes.map((process) => (
        <div className={classes.card} key={`${process.host} ${process.executable} ${process.pid}`}>
          <div className={classes.row}>
            <strong className={classes.mono}>{process.executable || "unknown program"}</strong>
            <span className={classes.dim}>{formatAgo(process.seen_at, now)}</span>
          </div>
          {process.command !== "" && <div className={classes.mono}>{process.command}</div>}
          <div className={classes.dim}>
            pid {process.pid}
            {process.user !== "" && ` · ${process.user}`}
            {process.host !== "" && ` · ${process.host}`}
          </div>
        </div>
      ))}
    </Section>
  );
}
