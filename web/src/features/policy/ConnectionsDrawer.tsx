import { Button, Drawer, Group, Loader, Select, Text } from "@mantine/core";
import { IconRadar2 } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Connection, ConnectionEnd, ObjectConnections } from "../../api/types";
import { KindIcon } from "../../components/KindIcon";
import { useNow } from "../../components/useNow";
import { formatAgo, formatNumber, formatPort, plural } from "../../radar/format";
import { WINDOWS, type WindowLength } from "../radar/search";
import { CauseLink } from "./CauseLink";
import classes from "./ConnectionsDrawer.module.css";
import { connectionsQuery } from "./connections";
import { EffectWord } from "./EffectWord";
import policyClasses from "./Policy.module.css";
import { Refusal } from "./Refusal";

interface Props {
  object: string;
  onClose: () => void;
}

/** The connections of a network object, those from before it was made included. */
export function ConnectionsDrawer({ object, onClose }: Props) {
  const [window, setWindow] = useState<WindowLength>("24h");
  const query = useInfiniteQuery(connectionsQuery(object, window));
  const pages = query.data?.pages ?? [];
  const first = pages[0];
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size={860}
      title={`Connections of ${object}`}
      closeButtonProps={{ "aria-label": "Close" }}
      data-testid="connections"
    >
      <Group mb="md" gap="sm">
        <Select
          aria-label="Time window"
          size="sm"
          w={170}
          value={window}
          allowDeselect={false}
          data={WINDOWS.map(({ value, label }) => ({ value, label }))}
          onChange={(value) => setWindow((value ?? "24h") as WindowLength)}
        />
        <Text size="sm" c="dimmed" role="status">
          {first === undefined ? "" : counted(first)}
        </Text>
        <Button
          component={Link}
          to={`/radar?${new URLSearchParams({ object, window })}`}
          ml="auto"
          size="sm"
          variant="default"
          leftSection={<IconRadar2 size={16} stroke={1.7} aria-hidden />}
        >
          Show on Radar
        </Button>
      </Group>
      {query.isPending && <Loader size="sm" aria-label="Loading" />}
      {query.error !== null && <Refusal error={query.error} version={0} />}
      {first !== undefined && first.flows === 0 && (
        <Text size="sm">Nothing of it was seen. A longer window may have more.</Text>
      )}
      {first !== undefined && first.flows > 0 && (
        <Rows listed={pages.flatMap((page) => page.listed)} />
      )}
      {query.hasNextPage && (
        <Button
          mt="md"
          variant="default"
          loading={query.isFetchingNextPage}
          onClick={() => void query.fetchNextPage()}
        >
          Show more
        </Button>
      )}
    </Drawer>
  );
}

const counted = ({ flows, connections }: ObjectConnections): string =>
  `${plural(flows, "flow")}, at most ${plural(connections, "connection")}`;

const HEADINGS = ["Source", "Destination", "Port", "Count", "Last seen", "In force"];

function Rows({ listed }: { listed: readonly Connection[] }) {
  const now = useNow(10_000);
  return (
    <table className={classes.table}>
      <thead>
        <tr>
          {HEADINGS.map((heading) => (
            <th scope="col" key={heading}>
              {heading}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {listed.map((one) => (
          <tr
            key={`${one.source.id}\n${one.destination.id}\n${one.port}\n${one.protocol}`}
            data-connection={`${one.source.name} ${one.destination.name} ${one.port}`}
          >
            <td>
              <End end={one.source} />
            </td>
            <td>
              <End end={one.destination} />
            </td>
            <td className={classes.number}>
              {formatPort({ port: one.port, protocol: one.protocol === "udp" ? "udp" : "tcp" })}
            </td>
            <td
              className={classes.number}
              title={one.certain ? "" : "It is not kept how many of them are of this object"}
            >
              {one.certain ? "" : "≤ "}
              {formatNumber(one.connections)}
            </td>
            <td className={classes.number} title={one.last_seen}>
              {formatAgo(one.last_seen, now)}
            </td>
            <td>
              {one.effect === null ? (
                <span className={policyClasses.dim}>not known</span>
              ) : (
                <>
                  <EffectWord effect={one.effect} />
                  <div className={policyClasses.dim}>
                    <CauseLink cause={one.cause} />
                    {one.sure ? "" : ", not for all"}
                  </div>
                </>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Addresses or instances written out before the others are only counted. */
const WHO_SHOWN = 3;

function End({ end }: { end: ConnectionEnd }) {
  const who = end.member ? end.who.filter((one) => one !== end.name) : [];
  const more = end.more + Math.max(0, who.length - WHO_SHOWN);
  const kind = end.kind as Parameters<typeof KindIcon>[0]["kind"];
  return (
    <div className={classes.end} data-member={end.member}>
      <KindIcon kind={kind} size={16} />
      <div className={classes.who}>
        {end.name}
        {who.length > 0 && (
          <div className={policyClasses.dim} title={who.join("\n")}>
            {who.slice(0, WHO_SHOWN).join(", ")}
            {more > 0 && ` and ${formatNumber(more)} more`}
          </div>
        )}
      </div>
    </div>
  );
}
