import { Button, Center, Loader, SegmentedControl, Text, TextInput, Title } from "@mantine/core";
import { IconAlertTriangle, IconSearch, IconShieldCheck, IconShieldX } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect } from "react";
import type { EventEnd, EventForm } from "../../api/types";
import { KindIcon } from "../../components/KindIcon";
import { LiveBadge } from "../../components/LiveBadge";
import { useNow } from "../../components/useNow";
import { formatAgo, formatNumber, formatPort, formatTime } from "../../radar/format";
import { CauseLink } from "../policy/CauseLink";
import classes from "./EventsPage.module.css";
import type { EventsSearch } from "./search";
import { useEvents } from "./useEvents";

/** Monitor, Events, CNNF: what was alerted on or prevented, the last seen first, live. */
export function EventsPage() {
  const search = useSearch({ from: "/inside/monitor/events/cnnf" });
  const navigate = useNavigate({ from: "/monitor/events/cnnf" });
  const { events, error, live, more, asking } = useEvents(search);
  const change = (part: Partial<EventsSearch>) =>
    void navigate({ search: (before) => ({ ...before, ...part }), replace: true });

  useEffect(() => {
    document.title = "Events · cnnf";
  }, []);

  return (
    <div className={classes.page}>
      <header className={classes.bar}>
        <nav aria-label="Breadcrumb" className={classes.crumbs}>
          <span>Monitor</span>
          <span aria-hidden>/</span>
          <Title order={1} className={classes.title}>
            Events
          </Title>
          <span aria-hidden>/</span>
          <span aria-current="page">CNNF</span>
        </nav>
        <SegmentedControl
          aria-label="Effect"
          size="sm"
          value={search.effect}
          onChange={(effect) => change({ effect: effect as EventsSearch["effect"] })}
          data={[
            { value: "all", label: "All" },
            { value: "alert", label: "Alerts" },
            { value: "prevent", label: "Prevented" },
          ]}
        />
        <search className={classes.search}>
          <TextInput
            aria-label="Search events"
            placeholder="Search name or address"
            size="sm"
            value={search.q ?? ""}
            leftSection={<IconSearch size={16} stroke={1.7} aria-hidden />}
            onChange={(event) => change({ q: event.currentTarget.value || undefined })}
            onKeyDown={(event) => {
              if (event.key === "Escape") change({ q: undefined });
            }}
          />
        </search>
        <div className={classes.end}>
          <LiveBadge live={live} />
        </div>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it */}
      <section className={classes.body} aria-label="List of events" tabIndex={0}>
        {events === undefined ? (
          error === null ? (
            <Center h="100%">
              <Loader aria-label="Loading" />
            </Center>
          ) : (
            <Nothing title="The events cannot be loaded" text={`${error.message} Trying again.`} />
          )
        ) : events.length === 0 ? (
          <Empty filtered={search.effect !== "all" || search.q !== undefined} />
        ) : (
          <EventTable events={events} />
        )}
        {more !== undefined && (
          <Center p="md">
            <Button variant="default" loading={asking} onClick={more}>
              Show older events
            </Button>
          </Center>
        )}
      </section>
    </div>
  );
}

function Empty({ filtered }: { filtered: boolean }) {
  return filtered ? (
    <Nothing title="No event matches" text="Choose another effect, or search for something else." />
  ) : (
    <Nothing
      title="No events"
      text="Rules with the effect alert or prevent make events: they appear here as they happen, and stay for 30 days."
    />
  );
}

function Nothing({ title, text }: { title: string; text: string }) {
  return (
    <div className={classes.nothing}>
      <IconShieldCheck size={48} stroke={1.2} aria-hidden />
      <Title order={2} size="h3">
        {title}
      </Title>
      <Text c="dimmed" ta="center" maw={460}>
        {text}
      </Text>
    </div>
  );
}

const HEADINGS = ["Last seen", "Effect", "From", "To", "Port", "Count", "Cause", "Process"];

function EventTable({ events }: { events: EventForm[] }) {
  const now = useNow(5_000);
  return (
    <table className={classes.table} data-testid="events">
      <thead>
        <tr>
          {HEADINGS.map((heading) => (
            <th scope="col" key={heading}>
              {heading}
            </th>
          ))}
          <th scope="col">Defender</th>
        </tr>
      </thead>
      <tbody>
        {events.map((event) => (
          <EventRow key={event.id} event={event} now={now} />
        ))}
      </tbody>
    </table>
  );
}

function EventRow({ event, now }: { event: EventForm; now: number }) {
  const process = event.source.process || event.destination.process;
  const end = event.source.process ? event.source : event.destination;
  const about = [end.pid > 0 ? `pid ${end.pid}` : "", end.user].filter((part) => part !== "");
  return (
    <tr data-event={event.id} data-effect={event.effect}>
      <td className={classes.time}>
        <div title={event.last_seen}>{formatTime(event.last_seen, now)}</div>
        <div className={classes.dim} title={`First seen ${event.first_seen}`}>
          {event.count > 1
            ? `since ${formatTime(event.first_seen, now)}`
            : formatAgo(event.last_seen, now)}
        </div>
      </td>
      <td>
        <Effect effect={event.effect} />
      </td>
      <td>
        <End end={event.source} />
      </td>
      <td>
        <End end={event.destination} />
      </td>
      <td className={classes.number}>{formatPort(event)}</td>
      <td className={classes.number}>
        {formatNumber(event.count)}
        {event.cut > 0 && (
          <div className={classes.dim} title="Living connections that were ended">
            {formatNumber(event.cut)} cut
          </div>
        )}
      </td>
      <td className={classes.cause}>
        <CauseLink cause={event.cause} />
      </td>
      <td className={classes.process}>
        {process !== "" && (
          <div className={classes.command} title={process}>
            {process}
          </div>
        )}
        {process !== "" && about.length > 0 && (
          <div className={classes.dim}>{about.join(" · ")}</div>
        )}
      </td>
      <td className={classes.defender} title={event.defender}>
        {event.defender_name}
      </td>
    </tr>
  );
}

function Effect({ effect }: { effect: EventForm["effect"] }) {
  const Icon = effect === "prevent" ? IconShieldX : IconAlertTriangle;
  return (
    <span className={classes.effect} data-effect={effect}>
      <Icon size={15} stroke={1.9} aria-hidden />
      {effect === "prevent" ? "Prevented" : "Alert"}
    </span>
  );
}

function End({ end }: { end: EventEnd }) {
  const about = [
    end.names.join(", "),
    end.address === end.name ? "" : end.address,
    end.host === end.name ? "" : end.host,
  ];
  const shown = about.filter((part) => part !== "");
  return (
    <div className={classes.who}>
      <KindIcon kind={end.kind} size={17} />
      <div className={classes.names}>
        <div className={classes.name}>{end.name}</div>
        {shown.length > 0 && <div className={classes.dim}>{shown.join(" · ")}</div>}
      </div>
    </div>
  );
}
